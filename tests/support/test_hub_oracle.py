"""The real client, `huggingface_hub`, reads and downloads from the test hub over TLS."""

import asyncio
import hashlib
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_url, set_client_factory
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder
from huggingface_hub.utils._http import default_client_factory

from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub, Repository
from tests.transfer.bench import Bench

NAME = "owner/Model-GGUF"
MODEL = "tiny.Q4_K_M.gguf"
README = b"# A model\n"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def content() -> bytes:
    return tiny_gguf()


@pytest.fixture
def repository(hub: Hub, content: bytes) -> Repository:
    repository = hub.repository(NAME)
    repository.add("README.md", README)
    repository.add("sub folder/é+#%.Q8_0.gguf", b"GGUF other")
    repository.add(MODEL, content)
    return repository


@pytest.fixture
def api(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[HfApi]:
    """The client with its defaults, except for the CA, and without Xet, which the hub does not support."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    context = ssl.create_default_context(cafile=hub.ca_file)
    set_client_factory(lambda: httpx2.Client(verify=context, follow_redirects=True, timeout=10))
    yield HfApi(endpoint=hub.endpoint, token=False)
    set_client_factory(default_client_factory)


def test_model_info_tells_commit_sizes_and_digests(api: HfApi, repository: Repository, content: bytes) -> None:
    info = api.model_info(NAME, files_metadata=True)
    assert (info.id, info.sha, info.private, info.gated) == (NAME, repository.commit, False, False)
    files = {sibling.rfilename: sibling for sibling in info.siblings or []}
    assert set(files) == {".gitattributes", "README.md", "sub folder/é+#%.Q8_0.gguf", MODEL}
    assert files["README.md"].size == len(README)
    assert files["README.md"].lfs is None
    lfs = files[MODEL].lfs
    assert lfs is not None
    assert (lfs.size, lfs.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_plain_git_files_have_the_blob_id_that_git_computes(api: HfApi, repository: Repository) -> None:
    (entry,) = api.get_paths_info(NAME, ["README.md", "missing"])
    assert isinstance(entry, RepoFile)
    assert entry.blob_id == "c06b64da4b222b355e7a83daac91e2572f67e525"  # printf '# A model\n' | git hash-object --stdin


def test_tree_lists_files_and_folders_over_pages(api: HfApi, hub: Hub, repository: Repository, content: bytes) -> None:
    hub.tree_page_size = 2
    entries = list(api.list_repo_tree(NAME, recursive=True))
    assert [entry.path for entry in entries] == [
        "sub folder",
        ".gitattributes",
        "README.md",
        "sub folder/é+#%.Q8_0.gguf",
        MODEL,
    ]
    assert isinstance(entries[0], RepoFolder)
    model = entries[-1]
    assert isinstance(model, RepoFile)
    assert model.lfs is not None
    assert model.lfs.sha256 == hashlib.sha256(content).hexdigest()
    assert len([request for request in hub.log if "/tree/" in request.path]) == 3


def test_tree_lists_one_folder(api: HfApi, repository: Repository) -> None:
    root = [entry.path for entry in api.list_repo_tree(NAME)]
    assert root == ["sub folder", ".gitattributes", "README.md", MODEL]
    paths = [entry.path for entry in api.list_repo_tree(NAME, path_in_repo="sub folder")]
    assert paths == ["sub folder/é+#%.Q8_0.gguf"]


def test_refs_and_old_commits_stay_resolvable(api: HfApi, repository: Repository) -> None:
    old = repository.tag("v1")
    repository.branch("dev")
    new = repository.add(MODEL, b"GGUF changed")
    refs = api.list_repo_refs(NAME)
    assert {ref.name: ref.target_commit for ref in refs.branches} == {"main": new, "dev": old}
    assert {ref.name: ref.target_commit for ref in refs.tags} == {"v1": old}
    assert api.model_info(NAME, revision="v1").sha == old
    assert api.model_info(NAME, revision=old[:8]).sha == old
    assert api.model_info(NAME).sha == new


def test_metadata_of_an_lfs_file_is_read_from_the_redirect(
    api: HfApi, hub: Hub, repository: Repository, content: bytes
) -> None:
    metadata = get_hf_file_metadata(hf_hub_url(NAME, MODEL, endpoint=hub.endpoint), token=False)
    assert metadata.size == len(content)
    assert metadata.etag == hashlib.sha256(content).hexdigest()
    assert metadata.commit_hash == repository.commit
    assert metadata.location.startswith(hub.content_origin)
    assert hub.log[-1].origin == "api", "the client stops at the foreign redirect"


def test_metadata_of_a_small_file_is_read_behind_the_relative_redirect(
    api: HfApi, hub: Hub, repository: Repository
) -> None:
    metadata = get_hf_file_metadata(hf_hub_url(NAME, "README.md", endpoint=hub.endpoint), token=False)
    assert metadata.size == len(README)
    assert metadata.commit_hash == repository.commit
    assert metadata.etag == hashlib.sha1(b"blob %d\0%s" % (len(README), README)).hexdigest()
    assert [request.status for request in hub.log] == [307, 200]


@pytest.mark.parametrize("token", [False, "hf_good"])
def test_downloads_both_kinds_of_file_and_leaks_no_token(
    api: HfApi, hub: Hub, repository: Repository, tmp_path: Path, token: str | bool
) -> None:
    commit = repository.find("main")
    assert commit is not None
    files = commit.files
    for name in ("README.md", MODEL, "sub folder/é+#%.Q8_0.gguf"):
        path = api.hf_hub_download(NAME, name, cache_dir=tmp_path, token=token)
        assert Path(path).read_bytes() == files[name].source
    assert any(request.authorization for request in hub.log if request.origin == "api") is bool(token)
    assert {request.authorization for request in hub.log if request.origin == "content"} == {False}
    assert hub.bytes_sent(MODEL) == files[MODEL].size


def test_the_client_resumes_after_a_reset(api: HfApi, hub: Hub, repository: Repository, tmp_path: Path) -> None:
    chunk = constants.DOWNLOAD_CHUNK_SIZE  # the client drops a chunk that did not arrive whole, and requests it again
    content = tiny_gguf(size=chunk + 2_000_000)
    repository.add("large.gguf", content)
    hub.reset_after(chunk + 1_000_000)
    path = api.hf_hub_download(NAME, "large.gguf", cache_dir=tmp_path)
    assert Path(path).read_bytes() == content
    first, second = (request for request in hub.log if request.origin == "content")
    assert (first.status, first.range, first.bytes_sent) == (200, None, chunk + 1_000_000)
    assert (second.status, second.range) == (206, (chunk, len(content) - 1))


def test_a_private_repository_opens_only_to_its_token(api: HfApi, hub: Hub, repository: Repository) -> None:
    repository.private = True
    hub.tokens.add("hf_stranger")
    for token in (False, "hf_stranger"):
        with pytest.raises(RepositoryNotFoundError):
            api.model_info(NAME, token=token)
        with pytest.raises(RepositoryNotFoundError):
            api.auth_check(NAME, token=token)
    assert api.model_info(NAME, token="hf_good").private
    api.auth_check(NAME, token="hf_good")


def test_a_gated_repository_is_listed_to_all_and_read_by_the_granted(
    api: HfApi, hub: Hub, repository: Repository, tmp_path: Path
) -> None:
    repository.gated = True
    hub.tokens.add("hf_stranger")
    assert api.model_info(NAME).gated == "manual"
    assert list(api.list_repo_tree(NAME))
    for token, status in ((False, 401), ("hf_stranger", 403)):
        with pytest.raises(GatedRepoError) as caught:
            api.hf_hub_download(NAME, MODEL, cache_dir=tmp_path, token=token)
        assert caught.value.response.status_code == status
        with pytest.raises(GatedRepoError):
            api.auth_check(NAME, token=token)
    api.hf_hub_download(NAME, MODEL, cache_dir=tmp_path, token="hf_good")


def test_the_digests_of_a_gated_repository_are_masked_for_a_stranger(api: HfApi, repository: Repository) -> None:
    repository.gated = True

    def digests(token: str | bool) -> set[str]:
        siblings = api.model_info(NAME, files_metadata=True, token=token).siblings or []
        entries = [entry for entry in api.list_repo_tree(NAME, token=token) if isinstance(entry, RepoFile)]
        lfs = [file.lfs for file in siblings] + [file.lfs for file in entries]
        return {one.sha256 for one in lfs if one}

    assert digests(False) == {"*" * 64}
    assert "*" * 64 not in digests("hf_good")


@pytest.mark.parametrize("name", ["OWNER/model-gguf", "former/name"])
def test_other_names_lead_to_the_repository(
    api: HfApi, repository: Repository, content: bytes, tmp_path: Path, name: str
) -> None:
    repository.former_names.add("former/name")
    assert api.model_info(name).id == NAME
    assert Path(api.hf_hub_download(name, MODEL, cache_dir=tmp_path)).read_bytes() == content


@pytest.mark.parametrize("omits", [set(), {"size", "lfs"}, {"sha"}])
@pytest.mark.parametrize("name", [NAME, "former/name"])
def test_the_resolver_reads_what_the_client_reads(
    api: HfApi, hub: Hub, repository: Repository, tmp_path: Path, omits: set[str], name: str
) -> None:
    repository.former_names.add("former/name")
    repository.add("plain.gguf", b"GGUF plain", lfs=False)
    repository.omits = frozenset(omits)
    for path in (MODEL, "sub folder/é+#%.Q8_0.gguf", "plain.gguf"):
        metadata = get_hf_file_metadata(hf_hub_url(name, path, endpoint=hub.endpoint), token=False)
        plan = asyncio.run(Bench(hub, tmp_path).resolve(f"hf:{name}:{path}"))
        (file,) = plan.files
        assert (file.size, plan.revision) == (metadata.size, metadata.commit_hash)
        assert file.digest is None or file.digest.hexadecimal == metadata.etag
        assert (file.digest is None) == (path == "plain.gguf")


def test_what_is_missing_is_named(api: HfApi, repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("owner/none")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("owner/none", token="hf_good")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(NAME, revision="none")
    with pytest.raises(RevisionNotFoundError):
        list(api.list_repo_tree(NAME, revision="none"))
    with pytest.raises(RemoteEntryNotFoundError) as caught:
        api.hf_hub_download(NAME, "none.gguf", cache_dir=tmp_path)
    assert caught.value.response.headers["X-Repo-Commit"] == repository.commit
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree(NAME, path_in_repo="none"))


def test_a_bad_token_and_a_disabled_repository_are_named(api: HfApi, repository: Repository) -> None:
    with pytest.raises(HfHubHTTPError, match="Invalid credentials") as caught:
        api.model_info(NAME, token="hf_bad")
    assert not isinstance(caught.value, RepositoryNotFoundError)
    repository.disabled = True
    with pytest.raises(DisabledRepoError):
        api.model_info(NAME)


def test_the_client_sees_a_rate_limit(api: HfApi, hub: Hub, repository: Repository) -> None:
    hub.fail(429, where="api", headers={"RateLimit": '"api";r=0;t=7'})
    with pytest.raises(HfHubHTTPError, match="Retry after 7 seconds"):
        api.model_info(NAME)
    assert api.model_info(NAME).id == NAME, "the failure was scripted once"


def test_the_hub_refuses_a_client_without_its_ca(hub: Hub, repository: Repository) -> None:
    with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        HfApi(endpoint=hub.endpoint, token=False).model_info(NAME)


def test_the_command_line_client_in_its_own_process_downloads(
    hub: Hub, repository: Repository, content: bytes, tmp_path: Path
) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "SSL_CERT_FILE": str(hub.ca_file),
    }
    command = Path(sys.executable).parent / "hf"
    subprocess.run(
        [command, "download", NAME, MODEL, "--local-dir", tmp_path / "out"], env=environment, check=True, timeout=60
    )
    assert (tmp_path / "out" / MODEL).read_bytes() == content
