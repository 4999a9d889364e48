"""What the numbers of a file system mean, also if they make no sense."""

import pytest

from model_provisioner.domain.store.space import free_bytes, occupied_bytes

HUGE = 2**64 - 1  # -1 as an unsigned number
# f_frsize, f_blocks, f_bfree and f_bavail, and the free bytes
ANSWERS = {
    "plausible": ((4096, 1000, 600, 500), 500 * 4096),
    "full": ((4096, 1000, 0, 0), 0),
    "full but for the blocks of root": ((4096, 1000, 50, 0), 0),
    "empty": ((4096, 1000, 1000, 1000), 1000 * 4096),
    "8 EiB, as a file system of a cloud says": ((2**20, 2**43 - 1, 2**43 - 1, 2**43 - 1), (2**43 - 1) * 2**20),
    "nothing at all": ((0, 0, 0, 0), None),
    "no block size": ((0, 1000, 600, 500), None),
    "no blocks": ((4096, 0, 0, 0), None),
    "no blocks, yet some are free": ((4096, 0, 600, 500), None),
    "negative size": ((4096, -1000, 600, 500), None),
    "more than a size can be": ((4096, HUGE, HUGE, HUGE), None),
    "more available than there are": ((4096, 1000, 600, 1001), None),
    "more free than there are": ((4096, 1000, 1001, 500), None),
    "a negative number available": ((4096, 1000, 600, HUGE), None),
    "a negative number free": ((4096, 1000, -1, 500), None),
    "nothing is used and nothing available": ((4096, 1000, 1000, 0), None),
}


@pytest.mark.parametrize(("answer", "free"), ANSWERS.values(), ids=ANSWERS.keys())
def test_free_bytes(answer: tuple[int, int, int, int], free: int | None) -> None:
    assert free_bytes(*answer) == free


@pytest.mark.parametrize(
    ("blocks", "durable", "occupied"),
    [(8, 0, 4096), (8, 5000, 5000), (0, 5000, 5000), (0, 0, 0), (-8, 0, 0), (2**62, 0, 10_000), (8, 2**62, 10_000)],
)
def test_a_file_occupies_no_less_than_nothing_and_no_more_than_its_size(
    blocks: int, durable: int, occupied: int
) -> None:
    assert occupied_bytes(10_000, blocks, durable) == occupied
