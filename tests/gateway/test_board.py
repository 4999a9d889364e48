"""The cache of encoded states: one variant of each kind for each download."""

from model_provisioner.domain.lifecycle.events import Queued, Started
from model_provisioner.gateway.board import Board
from tests.gateway.streaming import document
from tests.support.samples import MODEL


class Encoder:
    """Counts how often it is called."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> bytes:
        self.times += 1
        return b"%d" % self.times


def test_a_state_is_encoded_once_until_it_changes() -> None:
    board, encode = Board(), Encoder()
    board.on_event("ADDED", document("m", 1, Queued("waiting")))
    assert [board.encoded("uid-m", "state", 1, encode) for _ in range(3)] == [b"1"] * 3
    assert board.encoded("uid-m", "state", 2, encode) == b"2"
    board.on_event("MODIFIED", document("m", 2, Started(MODEL, 0)))
    assert board.encoded("uid-m", "state", 2, encode) == b"3"


def test_only_the_last_position_in_the_queue_is_cached() -> None:
    board, encode = Board(), Encoder()
    board.on_event("ADDED", document("m", 1, Queued("waiting")))
    for position in (3, 2, 1, 2):
        board.encoded("uid-m", "state", position, encode)
    assert encode.times == 4, "of all positions but the last, nothing is kept"


def test_nothing_is_cached_of_a_deleted_download() -> None:
    board, encode = Board(), Encoder()
    board.on_event("ADDED", document("m", 1, Started(MODEL, 0)))
    board.on_event("DELETED", document("m", 2, Started(MODEL, 0)))
    assert [board.encoded("uid-m", "state", 1, encode) for _ in range(2)] == [b"1", b"2"]
