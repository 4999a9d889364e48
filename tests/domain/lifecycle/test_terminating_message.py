"""The messages of an object that is being deleted."""

from model_provisioner.domain.lifecycle.terminating_message import (
    postponed_message,
    released_message,
    unreleased_message,
)


def test_each_says_what_happened_and_what_its_end_waits_for() -> None:
    others = ["foregroundDeletion", "example.com/backup"]
    for message in (released_message(3, others), released_message(0, others), postponed_message("no answer", others)):
        assert message.startswith("being deleted")
        assert message.endswith("it goes when its other finalizers are removed: foregroundDeletion, example.com/backup")
    assert "files deleted: 3" in released_message(3, others)
    assert "files deleted: none" in released_message(0, others)
    assert "no answer" in postponed_message("no answer", others)
    assert unreleased_message("no answer").endswith("is not finished: no answer")
