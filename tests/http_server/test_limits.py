"""Which connections are closed when a limit is exceeded."""

from dataclasses import dataclass

from model_provisioner.http_server.limits import excess, largest


@dataclass(frozen=True)
class Waiting:
    """A connection that waits for a request."""

    address: str = "a"
    since: float = 0.0
    received: int = 0

    def abort(self) -> None:
        raise AssertionError("deciding closes nothing")


def test_the_address_with_the_most_connections_loses_its_oldest() -> None:
    many = [Waiting("many", float(number)) for number in range(32)]
    few = [Waiting("few", -1.0)]
    assert excess([*few, *reversed(many)]) == many[:2]


def test_behind_an_ingress_the_oldest_makes_room() -> None:
    assert excess([Waiting(since=3.0), Waiting(since=1.0), Waiting(since=2.0)]) == [Waiting(since=1.0)]


def test_nothing_is_closed_if_nothing_waits() -> None:
    assert excess([]) == ()


def test_requests_below_the_limit_stay() -> None:
    assert largest([Waiting(received=50), Waiting(received=50)], 100) == ()


def test_the_largest_are_closed_until_half_of_the_limit_is_free() -> None:
    small = [Waiting(received=10)] * 3
    assert largest([*small, Waiting(received=60), Waiting(received=40)], 100) == [
        Waiting(received=60),
        Waiting(received=40),
    ]
