"""What goes wrong between a hub and a transfer goes wrong with web servers, buckets and registries: the same table.

The faults are those of `tests.transfer.download.test_bad_server`. The ref is resolved at a real server; the bytes come
from a front that misbehaves. `make faults` takes all of them, an ordinary run a sample for each source.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_provisioner.domain.errors import AccessDenied, ProvisionError, SourceNotFound, SourceUnavailable
from tests.faults.campaign import points, say
from tests.support.bad_server import Behaviour, Ending, stops_at
from tests.support.front import Front
from tests.support.models import files_below
from tests.support.sites import SITES, Site
from tests.transfer.download.test_bad_server import (
    BOUNDARIES,
    FORGIVEN,
    IN_FLIGHT,
    LARGE,
    REFUSED,
    SMALL,
    WHOLE_OR_UNLABELLED,
    WRONG_RANGES,
    WRONG_SIZES,
)
from tests.transfer.sources.web import Fetcher, fetcher, sha256

SAMPLE = 16
FILES = {"small": SMALL, "large": LARGE}
OTHERWISE: dict[str, type[ProvisionError]] = {"unauthorized": AccessDenied, "gone": SourceNotFound}
"""Refusals that mean something else at a hub."""


@dataclass(frozen=True)
class Case:
    """The bytes of the file `content` come by `script`, then by `always`. `error` None: they are right in the end.

    `sent` is the most bytes that may be sent, if that is known.
    """

    name: str
    content: str
    script: Sequence[Behaviour]
    always: Behaviour | None = None
    error: type[ProvisionError] | None = None
    sent: int | None = None


CASES = [
    *(Case(name, "small", script) for name, (script, _) in FORGIVEN.items()),
    *(Case(name, "small", (), wrong, OTHERWISE.get(name, error)) for name, (wrong, error, _) in REFUSED.items()),
    *(Case(name, "small", (), wrong, SourceUnavailable) for name, wrong in WRONG_RANGES.items()),
    *(Case(name, size, (), wrong) for name, (wrong, _) in WHOLE_OR_UNLABELLED.items() for size in FILES),
    *(Case(name, "large", (), wrong, SourceUnavailable) for name, (wrong, _) in WRONG_SIZES.items()),
    *(
        Case(f"{ending} at {at}", "large", [stops_at(at, ending)], None, None, len(LARGE) + IN_FLIGHT)
        for at in BOUNDARIES
        for ending in (Ending.CLOSE, Ending.RESET)
    ),
]


@pytest.fixture(scope="module", params=SITES)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with SITES[request.param](tmp_path_factory.mktemp(request.param), FILES) as running:
        yield running


async def test_a_bad_server_is_survived_or_named(site: Site, tmp_path: Path) -> None:
    cases = points(CASES, SAMPLE)
    for number, case in enumerate(cases):
        try:
            await check(case, site, tmp_path / f"volume-{number}")
        except BaseException as error:
            error.add_note(f"in the case {case.name!r} of {case.content}")
            raise
    say(f"{len(cases)} faults of {len(CASES)} in transfers from {site.name}")


async def check(case: Case, site: Site, root: Path) -> None:
    content = FILES[case.content]
    front = Front(content, case.script, case.always, behind=site.port)
    async with front.running(), fetcher(root) as fetch:
        if case.error is None and not changes(case, site):
            assert await fetched(fetch, front, site, case) == content
            assert case.sent is None or front.sent <= case.sent
            return
        with pytest.raises(ProvisionError) as caught:
            await fetched(fetch, front, site, case)
        assert type(caught.value) is (case.error or SourceUnavailable)
        assert "canary" not in caught.value.message
        assert not files_below(root)
        front.script, front.always, front.passes = (), None, True
        assert await fetched(fetch, front, site, case) == content


def changes(case: Case, site: Site) -> bool:
    """A bucket's object is bound to its entity tag, and a weak one is another."""
    return site.name == "s3" and case.name == "a weak ETag"


async def fetched(fetch: Fetcher, front: Front, site: Site, case: Case) -> bytes:
    url = f"http://127.0.0.1:{front.port}"
    ref, mine = site.ref(case.content, front.port), site.credentials(url)
    digest = sha256(FILES[case.content])
    plan = await fetch.resolve(ref, mine, digest, endpoint=url if site.endpoint else None)
    return fetch.content(await fetch.transfer(plan, mine))
