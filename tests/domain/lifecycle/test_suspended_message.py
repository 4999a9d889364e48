"""The message of a suspended object before the transfer: size, free space, and other models."""

import pytest

from model_provisioner.domain.lifecycle.limits import MAX_MESSAGE
from model_provisioner.domain.lifecycle.suspended_message import Alternative, Alternatives, suspended_message
from model_provisioner.domain.store.space import Room

MIB = 1024**2
GIB = 1024**3
NONE = Alternatives()
Q2, Q5, Q8 = (Alternative(*one) for one in (("Q2_K", 462 * MIB), ("Q5_K_M", 746 * MIB), ("Q8_0", GIB)))

CASES: list[tuple[int, Room | None, Alternatives, str]] = [
    (0, None, NONE, "637 MiB in all"),
    (0, Room(637 * MIB, 42 * GIB), NONE, "637 MiB in all, 42 GiB are free"),
    (0, Room(637 * MIB, None), NONE, "637 MiB in all; the volume does not say how much is free"),
    (0, Room(0, 0), NONE, "637 MiB in all, 0 B are free"),
    (
        0,
        Room(637 * MIB, 42 * MIB),
        NONE,
        "637 MiB in all, which does not fit: 637 MiB are needed and 42 MiB are free",
    ),
    (150 * MIB, None, NONE, "150 MiB of 637 MiB are here"),
    (0, None, Alternatives((Q2,)), "637 MiB in all; there is also Q2_K (462 MiB)"),
    (0, None, Alternatives((Q2, Q5)), "637 MiB in all; there are also Q2_K (462 MiB) and Q5_K_M (746 MiB)"),
    (
        0,
        Room(637 * MIB, 42 * GIB),
        Alternatives((Q2, Q5, Q8), 13),
        "637 MiB in all, 42 GiB are free; there are also Q2_K (462 MiB), Q5_K_M (746 MiB), Q8_0 (1 GiB) and 13 more",
    ),
]


@pytest.mark.parametrize(("here", "room", "alternatives", "says"), CASES)
def test_all_that_is_known_is_told(here: int, room: Room | None, alternatives: Alternatives, says: str) -> None:
    assert suspended_message("637 MiB", here, room, alternatives) == says


def test_names_that_are_long_leave_room_for_the_rest() -> None:
    long = tuple(Alternative(f"{number}{'x' * 249}.gguf", GIB) for number in range(12))
    told = suspended_message("637 MiB", 0, Room(GIB, MIB), Alternatives(long, 5))
    assert len(told) < MAX_MESSAGE - 100
    assert told.endswith("(1 GiB) and 15 more")
