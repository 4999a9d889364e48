"""In which lane a transfer runs."""

import pytest

from model_provisioner.domain.scheduling.lanes import SLOW_BYTES_PER_SECOND, Lane, lane_of


@pytest.mark.parametrize(
    ("limit", "local", "lane"),
    [
        (None, False, Lane.FETCHING),
        (SLOW_BYTES_PER_SECOND, False, Lane.FETCHING),
        (SLOW_BYTES_PER_SECOND - 1, False, Lane.SLOW),
        (1, False, Lane.SLOW),
        (None, True, Lane.HASHING),
        (1, True, Lane.HASHING),
    ],
)
def test_the_lane_follows_from_the_own_limit_and_from_what_is_done(limit: int | None, local: bool, lane: Lane) -> None:
    assert lane_of(limit, local=local) is lane
