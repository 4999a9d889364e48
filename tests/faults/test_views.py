"""A volume that fails or loses power while a view is written: Ollama lists no model without its blobs, and the next
update repairs the view.
"""

import contextlib
from pathlib import Path

import pytest

from model_provisioner.domain.errors import InsufficientStorage, ProvisionError, VolumeUnsuitable
from model_provisioner.domain.model_facts import OllamaSettings
from model_provisioner.domain.views.ollama_model import ViewedModel
from model_provisioner.transfer.store.store import Store
from model_provisioner.transfer.views import ollama
from tests.faults.campaign import points
from tests.support.faulty_volume import FaultyVolume
from tests.support.models import files_below, sample
from tests.support.views import CLAIM, View, publish, viewed

FILE, SECOND = sample(size=1000), sample("hf/acme/tiny/tiny.Q8_0.gguf", size=900, seed=1)
MODEL, OTHER = viewed("hf:acme/tiny:Q4", "tiny", FILE), viewed("hf:acme/tiny:Q8_0", "second", SECOND)
PATHS = {"hf.co/acme/tiny/Q4_K_M": FILE.content, "hf.co/acme/tiny/Q8_0": SECOND.content}


@pytest.fixture
def root(volume: FaultyVolume) -> Path:
    """A volume with two published models and a view of the first."""
    with Store.open(volume.root, None) as store:
        publish(store, volume.root, "tiny", FILE)
        publish(store, volume.root, "second", SECOND)
    return volume.root


def update(root: Path, *models: ViewedModel) -> None:
    with Store.open(root, None) as store:
        ollama.update(store, CLAIM, models)


def remove(root: Path) -> None:
    with Store.open(root, None) as store:
        ollama.remove(store, CLAIM)


def check_complete(root: Path, *paths: str) -> None:
    """Each listed model has its bytes; with `paths`, these are listed."""
    view = View(root)
    listed = view.manifests() if view.directory.exists() else {}
    assert all(view.contents(path)["model"] == PATHS[path] for path in listed)
    assert not paths or set(listed) == set(paths)


@pytest.mark.parametrize("power", [False, True], ids=["a fault", "a loss of power"])
def test_an_update_that_ends_anywhere_is_repaired_by_the_next_one(
    volume: FaultyVolume, root: Path, power: bool
) -> None:
    volume.fail("EIO", first=10**9)
    update(root, MODEL)
    update(root, OTHER)
    calls = volume.heal()
    remove(root)
    failed = 0
    for first in points(range(1, calls + 1), sample=12):
        update(root, MODEL)
        volume.fail("EIO", first)
        try:
            update(root, OTHER)
        except ProvisionError:
            failed += 1
        volume.heal()
        if power:
            volume.power_cycle()
        check_complete(root)
        update(root, MODEL, OTHER)
        check_complete(root, *PATHS)
        remove(root)
        assert files_below(root) == {FILE.path, SECOND.path}
    assert failed


def test_a_removal_that_ends_anywhere_is_completed_by_the_next_one(volume: FaultyVolume, root: Path) -> None:
    update(root, MODEL, OTHER)
    volume.fail("EIO", first=10**9)
    remove(root)
    for first in points(range(1, volume.heal() + 1), sample=12):
        update(root, MODEL, OTHER)
        volume.fail("EIO", first)
        with contextlib.suppress(ProvisionError):
            remove(root)
        volume.heal()
        check_complete(root)
        remove(root)
        assert files_below(root) == {FILE.path, SECOND.path}


def test_on_a_full_volume_a_model_still_leaves_the_view(volume: FaultyVolume, root: Path) -> None:
    update(root, MODEL, OTHER)
    volume.fail("ENOSPC", calls=("create", "mkdir", "write", "symlink", "link"))
    changed = viewed("hf:acme/tiny:Q4", "tiny", FILE, settings=OllamaSettings("{{ .Prompt }}"))
    with pytest.raises(InsufficientStorage):
        update(root, changed)
    check_complete(root, "hf.co/acme/tiny/Q4_K_M")
    assert len(View(root).blobs()) == 2, "its file and its configuration"


@pytest.mark.parametrize("error", ["EPERM", "ENOTSUP", "ENOSYS", "EMLINK"])
def test_without_hard_links_the_blobs_are_symbolic_links(volume: FaultyVolume, root: Path, error: str) -> None:
    volume.fail(error, calls=("link",))
    with Store.open(root, None) as store:
        for _ in range(2):
            assert ollama.update(store, CLAIM, (MODEL, OTHER)).symbolic == 2
            check_complete(root, *PATHS)
        ollama.update(store, CLAIM, (MODEL,))
        assert len(View(root).blobs()) == 2


def test_without_any_links_there_is_no_view_and_a_message_says_why(volume: FaultyVolume, root: Path) -> None:
    volume.fail("EPERM", calls=("link", "symlink"))
    with Store.open(root, None) as store, pytest.raises(VolumeUnsuitable, match="neither hard nor symbolic links"):
        ollama.update(store, CLAIM, (MODEL,))
    check_complete(root)
    remove(root)
    assert files_below(root) == {FILE.path, SECOND.path}
