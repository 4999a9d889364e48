"""The real client, `modelscope`, reads and downloads from the test hub over TLS, and sees what our source sees."""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_provisioner.domain.errors import AccessDenied, ProvisionError, SourceNotFound
from tests.support import tools
from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub, Repository
from tests.support.modelscope_client import ModelScopeClient
from tests.transfer.bench import Bench, token_for

pytestmark = tools.needs("modelscope")
NAME = "owner/Model-GGUF"
MODEL, OTHER, PLAIN = "tiny.Q4_K_M.gguf", "sub folder/é+#%.Q8_0.gguf", "plain.gguf"
TOKEN = "ms-good"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def repository(hub: Hub) -> Repository:
    repository = hub.repository(NAME, tokens=frozenset({TOKEN}))
    repository.add("README.md", b"# A model\n")
    repository.add(OTHER, tiny_gguf(seed=2))
    repository.add(PLAIN, tiny_gguf(seed=3), lfs=False)
    repository.add(MODEL, tiny_gguf(size=3 * 1024 * 1024))
    return repository


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> ModelScopeClient:
    return ModelScopeClient(hub, tmp_path / "home")


@pytest.fixture
def bench(hub: Hub, tmp_path: Path) -> Bench:
    return Bench(hub, tmp_path / "volume")


def content(repository: Repository, path: str, revision: str = "main") -> bytes:
    commit = repository.find(revision)
    assert commit is not None
    return commit.files[path].read(0, commit.files[path].size)


async def test_both_see_the_same_files_sizes_and_digests(
    client: ModelScopeClient, bench: Bench, repository: Repository
) -> None:
    theirs = await asyncio.to_thread(client.files, NAME)
    assert set(theirs) == {".gitattributes", "README.md", OTHER, PLAIN, MODEL}
    for path in (MODEL, OTHER, PLAIN):
        (file,) = (await bench.resolve(f"modelscope:{NAME}:{path}")).files
        assert (file.size, file.digest and file.digest.hexadecimal) == theirs[path]
        assert theirs[path] == (len(content(repository, path)), hashlib.sha256(content(repository, path)).hexdigest())


async def test_both_fetch_the_same_bytes(
    client: ModelScopeClient, bench: Bench, repository: Repository, tmp_path: Path
) -> None:
    bench.root.mkdir()
    await asyncio.to_thread(client.download, NAME, tmp_path / "theirs")
    for path in (MODEL, OTHER, PLAIN):
        theirs = (tmp_path / "theirs" / path).read_bytes()
        provided = await bench.transfer(await bench.resolve(f"modelscope:{NAME}:{path}"))
        assert theirs == bench.content(provided) == content(repository, path)


async def test_both_see_the_same_files_of_a_revision(
    client: ModelScopeClient, bench: Bench, repository: Repository, tmp_path: Path
) -> None:
    old = repository.tag("v1")
    repository.branch("dev")
    repository.add(MODEL, tiny_gguf(seed=1))
    for revision in ("v1", "dev", old, "master"):
        plan = await bench.resolve(f"modelscope:{NAME}@{revision}:{MODEL}")
        theirs = await asyncio.to_thread(client.files, NAME, revision)
        assert theirs[MODEL] == (plan.files[0].size, plan.files[0].digest and plan.files[0].digest.hexadecimal)
    await asyncio.to_thread(client.download, NAME, tmp_path / "theirs", MODEL, revision="v1")
    assert (tmp_path / "theirs" / MODEL).read_bytes() == content(repository, MODEL, "v1")


@pytest.mark.parametrize(("private", "error"), [(False, SourceNotFound), (True, AccessDenied)])
async def test_both_are_refused(
    client: ModelScopeClient, bench: Bench, repository: Repository, private: bool, error: type[ProvisionError]
) -> None:
    repository.private = private
    name = NAME if private else "owner/none"
    with pytest.raises(LookupError, match="NotExistError"):
        await asyncio.to_thread(client.files, name)
    with pytest.raises(error):
        await bench.resolve(f"modelscope:{name}:{MODEL}")


async def test_a_token_opens_a_private_repository_to_both(
    hub: Hub, bench: Bench, repository: Repository, tmp_path: Path
) -> None:
    repository.private = True
    client = ModelScopeClient(hub, tmp_path / "home", TOKEN)
    await asyncio.to_thread(client.download, NAME, tmp_path / "theirs", MODEL)
    plan = await bench.resolve(f"modelscope:{NAME}:{MODEL}", token_for(hub, TOKEN))
    assert (tmp_path / "theirs" / MODEL).read_bytes() == content(repository, MODEL)
    assert plan.files[0].size == len(content(repository, MODEL))
    assert [request.authorization for request in hub.log if request.origin == "content"] == [False]
