"""The operator's limit is divided among the running downloads at every change."""

import pytest

from model_provisioner.controller.transfers.bandwidth import Bandwidth

LIMIT = 1000


class Download:
    """A consumer that records its shares; the last one is valid."""

    def __init__(self, wanted: int | None = None) -> None:
        self.wanted = wanted
        self.granted: list[int | None] = []

    def grant(self, bytes_per_second: int | None) -> None:
        self.granted.append(bytes_per_second)

    @property
    def share(self) -> int | None:
        return self.granted[-1]


def test_one_alone_has_all_of_it() -> None:
    download = Download()
    with Bandwidth(LIMIT).consumer(download):
        assert download.share == LIMIT


def test_another_one_halves_it_for_as_long_as_it_stays() -> None:
    bandwidth, first, second = Bandwidth(LIMIT), Download(), Download()
    with bandwidth.consumer(first):
        with bandwidth.consumer(second):
            assert (first.share, second.share) == (LIMIT // 2, LIMIT // 2)
        assert first.share == LIMIT


def test_one_that_fails_gives_its_share_back() -> None:
    bandwidth, first = Bandwidth(LIMIT), Download()

    def fail() -> None:
        with bandwidth.consumer(Download()):
            raise OSError

    with bandwidth.consumer(first):
        with pytest.raises(OSError):
            fail()
        assert first.share == LIMIT


def test_one_that_left_gets_no_more_calls() -> None:
    bandwidth, gone = Bandwidth(LIMIT), Download()
    with bandwidth.consumer(gone):
        pass
    calls = list(gone.granted)
    with bandwidth.consumer(Download()):
        bandwidth.rebalance()
    assert gone.granted == calls


def test_bandwidth_that_one_does_not_use_is_for_the_others() -> None:
    bandwidth, modest, first, second = Bandwidth(LIMIT), Download(100), Download(), Download()
    with bandwidth.consumer(modest), bandwidth.consumer(first), bandwidth.consumer(second):
        assert [modest.share, first.share, second.share] == [100, 450, 450]


def test_a_changed_limit_changes_all_shares_at_once() -> None:
    bandwidth, one, other = Bandwidth(LIMIT), Download(), Download()
    with bandwidth.consumer(one), bandwidth.consumer(other):
        one.wanted = 100
        bandwidth.rebalance()
        assert (one.share, other.share) == (100, 900)
        one.wanted = None
        bandwidth.rebalance()
        assert (one.share, other.share) == (500, 500)


def test_without_a_limit_each_has_what_it_wants() -> None:
    bandwidth, modest, greedy = Bandwidth(None), Download(100), Download()
    with bandwidth.consumer(modest), bandwidth.consumer(greedy):
        assert (modest.share, greedy.share) == (100, None)
        modest.wanted = 2 * LIMIT
        bandwidth.rebalance()
        assert modest.share == 2 * LIMIT
