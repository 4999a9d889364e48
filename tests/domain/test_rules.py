"""The small rules: backoff, queue order, speed, digests, errors by name, part keys."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.errors import (
    AccessDenied,
    DigestMismatch,
    InternalError,
    ProvisionError,
    RateLimited,
    Retryable,
    Terminal,
    VolumeChanged,
    error_of,
)
from model_provisioner.domain.lifecycle.backoff import delay, pause
from model_provisioner.domain.lifecycle.speed import Meter
from model_provisioner.domain.scheduling.fair_share import shares
from model_provisioner.domain.scheduling.queueing import Share, Waiting, next_in_line, queue_order
from model_provisioner.domain.scheduling.space_reservations import HEADROOM, wait_reason
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import PlannedFile
from model_provisioner.domain.store.space import Room


def test_backoff_doubles_up_to_five_minutes_and_jitters_half() -> None:
    assert [delay(failures, None, 1.0) for failures in (1, 2, 3, 9, 10, 1000)] == [1, 2, 4, 256, 300, 300]
    assert delay(3, None, 0.0) == 2.0


def test_what_the_source_asked_for_is_a_lower_bound_up_to_an_hour() -> None:
    assert delay(1, 30, 0.0) == 30
    assert delay(1, 10**9, 0.0) == 3600
    assert delay(10, 1, 0.0) == 150


def test_who_asks_again_and_again_is_come_back_to_over_a_longer_time() -> None:
    assert [delay(failures, 30, 1.0) for failures in (1, 2, 5)] == [31, 32, 46]


def test_the_queue_serves_priority_then_age() -> None:
    old, young = Waiting("b", "ns", 0, "2026-01-01T00:00:00Z"), Waiting("a", "ns", 0, "2026-01-02T00:00:00Z")
    urgent = Waiting("c", "ns", 5, "2026-01-03T00:00:00Z")
    assert next_in_line([young, old, urgent], {}) == urgent
    assert next_in_line([young, old], {}) == old
    assert next_in_line([], {}) is None


def test_a_namespace_with_few_running_downloads_goes_first() -> None:
    crowd = [Waiting(f"crowd-{n}", "crowd", 9, f"2026-01-01T00:00:0{n}Z") for n in range(3)]
    alone = Waiting("alone", "alone", 0, "2026-01-02T00:00:00Z")
    assert next_in_line([*crowd, alone], {"crowd": Share(1)}) == alone
    assert next_in_line([*crowd, alone], {"crowd": Share(1), "alone": Share(2)}) == crowd[0]
    assert queue_order([alone, *crowd], {}) == [crowd[0], alone, *crowd[1:]]
    assert queue_order([alone, *crowd], {"alone": Share(2)}) == [*crowd[:2], crowd[2], alone]


def test_with_one_slot_namespaces_take_turns_and_a_priority_outranks_them() -> None:
    crowd = [Waiting(f"crowd-{n}", "crowd", 0, f"2026-01-01T00:00:0{n}Z") for n in range(3)]
    alone = Waiting("alone", "alone", 0, "2026-01-02T00:00:00Z")
    served = Share().served(1.0).ended()
    assert served == Share(0, 1.0)
    assert next_in_line([*crowd, alone], {"crowd": served}) == alone
    urgent = replace(crowd[0], priority=1)
    assert next_in_line([urgent, alone], {"crowd": served}) == urgent


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 5)), max_size=12), st.data())
def test_the_line_is_what_one_after_the_other_would_give(
    queue: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    waiting = [Waiting(str(n), name, priority, f"{age}") for n, (name, priority, age) in enumerate(queue)]
    share = st.builds(Share, st.integers(0, 3), st.integers(0, 9).map(float))
    shares = data.draw(st.dictionaries(st.sampled_from("abc"), share))
    left, now, order = dict(shares), 10.0, []
    rest = waiting[:]
    while first := next_in_line(rest, left):
        rest.remove(first)
        order.append(first)
        now += 1
        left[first.namespace] = left.get(first.namespace, Share()).served(now)
    assert queue_order(waiting, shares) == order


@pytest.mark.parametrize(
    ("limit", "wanted", "each"),
    [
        (None, [None, 5], (None, 5)),
        (90, [], ()),
        (90, [None, None, None], (30, 30, 30)),
        (90, [10, None, None], (10, 40, 40)),
        (90, [None, 10, 20], (60, 10, 20)),
        (90, [100, 50, 10], (40, 40, 10)),
        (2, [None, None, None], (1, 1, 1)),
    ],
)
def test_bandwidth_is_shared_max_min_fair(
    limit: int | None, wanted: list[int | None], each: tuple[int | None, ...]
) -> None:
    assert shares(limit, wanted) == each


def test_what_others_will_write_is_not_free() -> None:
    room = Room(needed=600, free=1000 + HEADROOM)
    assert wait_reason(room, []) is None
    assert wait_reason(room, [400]) is None
    assert wait_reason(room, [300, 101]) == (
        "waiting for room: 600 B are needed, and of the volume's 4 MiB free running downloads will take 401 B"
    )
    assert wait_reason(Room(needed=10**9, free=0), [0]) is None


def test_only_what_the_world_can_mend_is_tried_again_slowly() -> None:
    assert [pause(AccessDenied("no"), 7, random) for random in (0.0, 1.0)] == [300, 600]
    assert pause(VolumeChanged("gone"), 7, 0.5) == 60
    assert pause(DigestMismatch("differs"), 1, 0.5) is None
    assert pause(RateLimited("slower", 30), 1, 0.0) == 30


def test_speed_is_an_average_and_starts_again_when_bytes_fall() -> None:
    meter = Meter(0.0, 0).observe(1.0, 100)
    assert (meter.rate, meter.seconds_left(1100)) == (100.0, 10)
    faster = meter.observe(2.0, 300)
    assert faster.rate is not None
    assert 100 < faster.rate < 200
    assert faster.observe(3.0, 10).rate is None
    assert Meter(0.0, 0).seconds_left(10) is None


@pytest.mark.parametrize("text", ["ab" * 32, "sha256:" + "AB" * 32, " sha256:" + "ab" * 32])
def test_digests_have_one_spelling(text: str) -> None:
    assert str(Digest.parse(text)) == "sha256:" + "ab" * 32


@pytest.mark.parametrize("text", ["", "sha256:", "md5:" + "ab" * 16, "xy" * 32, "ab" * 31])
def test_other_digests_are_told_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="sha256:"):
        Digest.parse(text)


def test_errors_survive_the_way_between_processes() -> None:
    for root in (Retryable, Terminal):
        for cls in root.__subclasses__():
            again: ProvisionError = error_of(cls.__name__, "why", 3.0)
            assert (type(again), again.message, again.reason) == (cls, "why", cls.__name__)
    assert isinstance(error_of("NoSuchError", "why"), InternalError)
    limited = error_of("RateLimited", "why", 3.0)
    assert isinstance(limited, RateLimited)
    assert limited.retry_after == 3.0
    assert not isinstance(error_of("DigestMismatch", "why", 3.0), Retryable)
    assert issubclass(DigestMismatch, Terminal)


def test_a_part_is_bound_to_the_identity_of_its_file() -> None:
    file = PlannedFile("hf/a/b/x.gguf", 10, Digest("ab" * 32), "hf:a/b:x.gguf", "https://hub/x")
    others = [
        replace(file, size=11),
        replace(file, digest=Digest("cd" * 32)),
        replace(file, digest=None),
        replace(file, source="hf:a/c:x.gguf"),
    ]
    assert len({one.part_key for one in [file, *others]}) == len(others) + 1
    assert replace(file, url="https://mirror/x").part_key == file.part_key
