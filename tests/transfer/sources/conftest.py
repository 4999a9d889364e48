"""What the tests of several sources share: a volume, and two registries."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support import registry
from tests.support.registry import Pusher
from tests.transfer.sources.token_registry import TokenRegistry, token_registry
from tests.transfer.sources.web import Fetcher, fetcher


@pytest.fixture
async def fetch(tmp_path: Path) -> AsyncIterator[Fetcher]:
    async with fetcher(tmp_path / "volume") as found:
        yield found


@pytest.fixture
def pusher(tmp_path: Path) -> Iterator[Pusher]:
    """Debian's docker-registry, empty."""
    with registry.running(tmp_path) as url:
        yield Pusher(url, "team/tiny")


@pytest.fixture
async def origin() -> AsyncIterator[TokenRegistry]:
    """A registry with tokens from another host, whose files count what is sent."""
    async with token_registry() as found:
        yield found
