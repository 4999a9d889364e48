"""How downloads share a bandwidth limit."""

import pytest

from model_provisioner.domain.scheduling.fair_share import shares


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
