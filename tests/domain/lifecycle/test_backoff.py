"""When the next try is due after an error, and which errors are tried again."""

from model_provisioner.domain.errors import AccessDenied, DigestMismatch, RateLimited, VolumeChanged
from model_provisioner.domain.lifecycle.backoff import delay, pause


def test_backoff_doubles_up_to_five_minutes_and_jitters_half() -> None:
    assert [delay(failures, None, 1.0) for failures in (1, 2, 3, 9, 10, 1000)] == [1, 2, 4, 256, 300, 300]
    assert delay(3, None, 0.0) == 2.0


def test_what_the_source_asked_for_is_a_lower_bound_up_to_an_hour() -> None:
    assert delay(1, 30, 0.0) == 30
    assert delay(1, 10**9, 0.0) == 3600
    assert delay(10, 1, 0.0) == 150


def test_a_source_that_keeps_asking_to_wait_is_retried_over_a_longer_time() -> None:
    assert [delay(failures, 30, 1.0) for failures in (1, 2, 5)] == [31, 32, 46]


def test_only_errors_that_can_go_away_without_a_new_object_are_retried_slowly() -> None:
    assert [pause(AccessDenied("no"), 7, random) for random in (0.0, 1.0)] == [300, 600]
    assert pause(VolumeChanged("gone"), 7, 0.5) == 60
    assert pause(VolumeChanged("gone"), 7, 0.0, in_pod=True) == 300
    assert pause(DigestMismatch("differs"), 1, 0.5) is None
    assert pause(RateLimited("slower", 30), 1, 0.0) == 30
