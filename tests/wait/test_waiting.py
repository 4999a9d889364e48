"""When waiting ends, and what is said meanwhile."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat

from model_provisioner.wait.sight import ExitCode, Missing, Sight, There, Unreadable
from model_provisioner.wait.waiting import Clock, wait

MISSING = Missing("/models/a.gguf")
BROKEN = Unreadable("the volume can't be read", ExitCode.VOLUME_UNREADABLE)


def waited(sights: Sequence[Sight], timeout: float | None = None) -> tuple[ExitCode, list[str], float]:
    """The exit code, the lines, and the seconds that have passed. The last of `sights` lasts."""
    now = [0.0]
    lines: list[str] = []

    def sleep(seconds: float) -> None:
        assert 0 <= seconds <= 0.5
        now[0] += seconds

    found: Iterator[Sight] = chain(sights, repeat(sights[-1]))
    look: Callable[[], Sight] = lambda: next(found)  # noqa: E731 - short
    code = wait(look, timeout, Clock(lambda: now[0], lambda: "NOON", sleep), lines.append)
    return code, lines, now[0]


def test_a_model_that_is_there_ends_it_at_once() -> None:
    code, lines, seconds = waited([There("/models/a.gguf")])
    assert (code, seconds) == (0, 0)
    assert lines == ["/models/a.gguf is there, after 0s"]


def test_it_is_seen_within_a_second() -> None:
    code, _, seconds = waited([MISSING, MISSING, There("/models/a.gguf")])
    assert (code, seconds) == (0, 1)


def test_a_line_every_ten_seconds_says_what_is_waited_for_and_since_when() -> None:
    code, lines, seconds = waited([MISSING], timeout=25)
    assert (code, seconds) == (1, 25)
    assert lines == [
        "waiting for /models/a.gguf, since NOON (0s)",
        "waiting for /models/a.gguf, since NOON (10s)",
        "waiting for /models/a.gguf, since NOON (20s)",
        "waiting for /models/a.gguf, since NOON (25s): the time is over",
    ]


def test_a_change_is_said_at_once() -> None:
    _, lines, _ = waited([Missing("tiny in the catalog"), MISSING], timeout=1)
    assert lines[:2] == [
        "waiting for tiny in the catalog, since NOON (0s)",
        "waiting for /models/a.gguf, since NOON (0s)",
    ]


def test_a_volume_that_can_not_be_read_for_half_a_minute_ends_it() -> None:
    code, lines, seconds = waited([MISSING, MISSING, BROKEN])
    assert (code, seconds) == (3, 30.5)
    assert lines[1].startswith("the volume can't be read, since NOON")
    assert lines[-1].endswith(": given up")


def test_a_short_outage_of_the_volume_ends_nothing() -> None:
    code, _, seconds = waited([*[BROKEN] * 59, MISSING, *[BROKEN] * 59, There("/models/a.gguf")])
    assert code == 0
    assert seconds > 30


def test_a_timeout_of_an_unreadable_catalog_is_a_timeout() -> None:
    broken = Unreadable("the catalog can't be read", ExitCode.CATALOG_UNREADABLE)
    assert waited([broken], timeout=2)[0] == 1
    assert waited([broken])[0] == 4
