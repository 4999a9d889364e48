"""Artifacts that the real `oras` pushed to a real registry: what it writes is what the source reads."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import AccessDenied, AmbiguousModel
from tests.support import registry, tools
from tests.support.ggufs import tiny_gguf, write_split
from tests.support.oras import Oras
from tests.transfer.sources.web import Fetcher, sha256

pytestmark = [tools.needs("oras"), tools.needs("docker-registry")]
MODEL, OTHER = tiny_gguf(size=24 * 1024 * 1024), tiny_gguf(seed=1)  # the first in several ranges
LOGIN = (registry.USER, registry.PASSWORD)


@pytest.fixture
def oras(tmp_path: Path) -> Iterator[Oras]:
    """Pushes to an empty registry, from a directory with the files `tiny.Q8_0.gguf`, `other.gguf` and `README.md`."""
    with registry.running(tmp_path) as url:
        yield _filled(tmp_path / "pushed", url)


@pytest.fixture
def protected(tmp_path: Path) -> Iterator[Oras]:
    with registry.running(tmp_path, protected=True) as url:
        yield _filled(tmp_path / "pushed", url, LOGIN)


def _filled(directory: Path, url: str, login: tuple[str, str] | None = None) -> Oras:
    directory.mkdir()
    (directory / "tiny.Q8_0.gguf").write_bytes(MODEL)
    (directory / "other.gguf").write_bytes(OTHER)
    (directory / "README.md").write_bytes(b"# Tiny")
    return Oras(url.removeprefix("http://"), "team/tiny", directory, login)


def ref_of(oras: Oras, end: str = ":v1") -> str:
    return f"oci://{oras.host}/{oras.repository}{end}"


@pytest.mark.parametrize("media_type", ["", ":application/octet-stream", ":application/vnd.docker.ai.gguf.v3"])
async def test_a_file_is_fetched_as_it_was_pushed(oras: Oras, fetch: Fetcher, media_type: str) -> None:
    digest = oras.push("v1", "README.md:text/markdown", f"tiny.Q8_0.gguf{media_type}")
    plan = await fetch.resolve(ref_of(oras))
    (file,) = plan.files
    assert plan.revision == digest
    assert (file.size, str(file.digest)) == (len(MODEL), sha256(MODEL))
    assert file.path == f"oci/{oras.host.replace(':', '+')}/team/tiny/v1/tiny.Q8_0.gguf"
    provided = await fetch.transfer(plan, connections=4)
    assert fetch.content(provided) == MODEL
    assert provided.received == len(MODEL)
    by_digest = await fetch.resolve(ref_of(oras, f"@{digest}"))
    assert by_digest.files[0].digest == file.digest


async def test_all_parts_of_a_model_are_fetched(oras: Oras, fetch: Fetcher) -> None:
    parts = write_split(oras.directory, "big")
    oras.push("v1", *(path.name for path in reversed(parts)), flags=["--artifact-type=application/vnd.example.model"])
    provided = await fetch.fetch(ref_of(oras))
    assert [fetch.content(provided, number) for number in range(3)] == [path.read_bytes() for path in parts]


async def test_an_index_leads_to_its_one_model(oras: Oras, fetch: Fetcher) -> None:
    readme = oras.push("readme", "README.md", flags=["--artifact-platform=linux/amd64"])
    model = oras.push("model", "tiny.Q8_0.gguf", flags=["--artifact-platform=linux/arm64"])
    top = oras.index("v1", readme, model)
    plan = await fetch.resolve(ref_of(oras))
    assert plan.revision == top
    assert fetch.content(await fetch.transfer(plan)) == MODEL
    oras.index("v2", model, oras.push("other", "other.gguf"))
    with pytest.raises(AmbiguousModel, match=f"2 models: name one by its digest: .*@{model}"):
        await fetch.resolve(ref_of(oras, ":v2"))


async def test_a_model_is_fetched_out_of_a_directory(oras: Oras, fetch: Fetcher) -> None:
    weights = oras.directory / "weights"
    weights.mkdir()
    (oras.directory / "other.gguf").rename(weights / "other.gguf")
    oras.push("v1", "weights")
    assert fetch.content(await fetch.fetch(ref_of(oras))) == OTHER


async def test_a_protected_registry_opens_to_the_login_that_pushed(protected: Oras, fetch: Fetcher) -> None:
    protected.push("v1", "tiny.Q8_0.gguf")
    with pytest.raises(AccessDenied, match="without a credential"):
        await fetch.resolve(ref_of(protected))
    login = Credentials(None, (f"http://{protected.host}",), username=LOGIN[0], password=LOGIN[1])
    assert fetch.content(await fetch.fetch(ref_of(protected), login)) == MODEL
