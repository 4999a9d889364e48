"""When a download waits for the space that running downloads will use."""

from model_provisioner.domain.scheduling.space_reservations import HEADROOM, wait_reason
from model_provisioner.domain.store.space import Room


def test_space_that_running_downloads_will_use_is_not_free() -> None:
    room = Room(needed=600, free=1000 + HEADROOM)
    assert wait_reason(room, []) is None
    assert wait_reason(room, [400]) is None
    assert wait_reason(room, [300, 101]) == (
        "waiting for room: 600 B are needed, and of the volume's 4 MiB free running downloads will take 401 B"
    )
    assert wait_reason(Room(needed=10**9, free=0), [0]) is None


def test_no_download_waits_for_space_that_is_unknown() -> None:
    assert wait_reason(Room(needed=600, free=None), [400]) is None
