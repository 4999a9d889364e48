"""The view of Ollama on a volume: what is in it, and that it follows the published files."""

import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from model_provisioner.domain.errors import PathConflict, VolumeUnsuitable
from model_provisioner.domain.model_facts import OllamaSettings
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.modes import Modes
from model_provisioner.transfer.store.records import UnheldFiles
from model_provisioner.transfer.store.store import Store
from model_provisioner.transfer.views import manifests, ollama
from model_provisioner.transfer.views.ollama import ViewResult
from tests.support.models import attest, fetch, files_below, holder, plan_of, put, sample
from tests.support.views import CLAIM, View, publish, viewed
from tests.support.volumes import acting_as, needs_root, shared_volume

REF, FILE = "hf:acme/tiny:Q4", sample(size=1000)
PATH = "hf.co/acme/tiny/Q4_K_M"
SECOND = sample("hf/acme/tiny/tiny.Q8_0.gguf", size=900, seed=1)
SECOND_PATH = "hf.co/acme/tiny/Q8_0"
MINE = sample("local/mine.gguf", size=800, seed=2)
OTHER_CLAIM = Claim("other", "models")


@pytest.fixture
def view(root: Path) -> View:
    return View(root)


def test_a_model_is_listed_with_its_file_as_a_hard_link(store: Store, root: Path, view: View) -> None:
    publish(store, root, "tiny", FILE)
    assert ollama.update(store, CLAIM, (viewed(REF, "tiny", FILE),)) == ViewResult(("hf.co/acme/tiny:Q4_K_M",))
    assert list(view.manifests()) == [PATH]
    contents = view.contents(PATH)
    assert contents["model"] == FILE.content
    assert json.loads(contents["v1+json"])["model_family"] == "llama"
    blob = view.blob(view.manifests()[PATH]["layers"][0])
    assert blob.samefile(root / FILE.path)
    assert not blob.is_symlink()


def test_projector_and_texts_are_layers(store: Store, root: Path, view: View) -> None:
    projector = sample("ollama/library/tiny/latest/mmproj.gguf", size=500, seed=3)
    model = sample("ollama/library/tiny/latest/model.gguf", size=1000, seed=4)
    publish(store, root, "tiny", model, projector)
    settings = OllamaSettings("{{ .Prompt }}", '{"num_ctx":4096}', "Be brief.")
    ollama.update(store, CLAIM, (viewed("ollama:tiny", "tiny", model, projector, settings=settings),))
    contents = view.contents("registry.ollama.ai/library/tiny/latest")
    assert (contents["model"], contents["projector"]) == (model.content, projector.content)
    assert (contents["template"], contents["system"], contents["params"]) == (
        b"{{ .Prompt }}",
        b"Be brief.",
        b'{"num_ctx":4096}',
    )


def test_a_second_update_changes_nothing(store: Store, root: Path, view: View) -> None:
    publish(store, root, "tiny", FILE)
    publish(store, root, "mine", MINE)
    models = (viewed(REF, "tiny", FILE), viewed("local:mine.gguf", "mine", MINE))

    def inodes() -> dict[Path, tuple[int, int]]:
        found = {path: path.lstat() for path in view.directory.rglob("*")}
        return {path: (facts.st_ino, facts.st_mtime_ns) for path, facts in found.items()}

    ollama.update(store, CLAIM, models)
    before = inodes()
    ollama.update(store, CLAIM, models)
    assert inodes() == before


def test_what_is_damaged_is_repaired(store: Store, root: Path, view: View) -> None:
    publish(store, root, "tiny", FILE)
    publish(store, root, "mine", MINE)
    models = (viewed(REF, "tiny", FILE), viewed("local:mine.gguf", "mine", MINE))
    ollama.update(store, CLAIM, models)
    wanted = {path: view.contents(path) for path in view.manifests()}
    blobs = view.blobs()
    for number, path in enumerate(sorted(path for path in view.directory.rglob("*") if path.is_file())):
        path.unlink()
        if number % 2:
            path.write_bytes(b"something else")
    ollama.update(store, CLAIM, models)
    assert {path: view.contents(path) for path in view.manifests()} == wanted
    assert view.blobs() == blobs


def test_a_model_that_left_is_removed_with_its_blobs_and_the_file_stays(store: Store, root: Path, view: View) -> None:
    publish(store, root, "tiny", FILE)
    publish(store, root, "second", SECOND)
    both = (viewed(REF, "tiny", FILE), viewed("hf:acme/tiny:Q8_0", "second", SECOND))
    ollama.update(store, CLAIM, both)
    ollama.update(store, CLAIM, both[1:])
    assert list(view.manifests()) == [SECOND_PATH]
    assert len(view.blobs()) == 2
    assert (root / FILE.path).stat().st_nlink == 1
    assert (root / FILE.path).read_bytes() == FILE.content


def test_a_file_that_no_record_attests_is_not_served(store: Store, root: Path, view: View) -> None:
    store.records.settle(holder("tiny"), plan_of(FILE))
    fetch(store, FILE)
    result = ollama.update(store, CLAIM, (viewed(REF, "tiny", FILE),))
    assert result.left_out == ("models/tiny: its files are not confirmed on the volume",)
    assert view.manifests() == {}
    assert view.blobs() == set()


def test_a_file_that_was_found_corrupt_leaves_the_view(store: Store, root: Path, view: View) -> None:
    publish(store, root, "tiny", FILE)
    ollama.update(store, CLAIM, (viewed(REF, "tiny", FILE),))
    store.records.mark_corrupt((FILE.path,))
    ollama.update(store, CLAIM, (viewed(REF, "tiny", FILE),))
    assert view.blobs() == set()


def test_deleting_the_file_of_a_model_frees_its_bytes_at_once(store: Store, root: Path, view: View) -> None:
    publish(store, root, "tiny", FILE)
    ollama.update(store, CLAIM, (viewed(REF, "tiny", FILE),))
    held = os.open(root / FILE.path, os.O_RDONLY)
    assert store.records.remove("uid-tiny", delete=True) == (FILE.path,)
    assert os.fstat(held).st_nlink == 0
    os.close(held)
    ollama.update(store, CLAIM, ())
    assert view.manifests() == {}


def test_a_file_that_prune_deletes_is_not_kept_by_a_view_that_is_out_of_date(
    store: Store, root: Path, view: View
) -> None:
    publish(store, root, "tiny", FILE)
    ollama.update(store, CLAIM, (viewed(REF, "tiny", FILE),))
    store.records.remove("uid-tiny", delete=False)
    unheld = store.records.unheld()
    assert [(file.path, file.size) for file in unheld.published] == [(FILE.path, 1000)]
    held = os.open(root / FILE.path, os.O_RDONLY)
    store.records.prune(unheld)
    assert os.fstat(held).st_nlink == 0
    os.close(held)


def test_a_file_that_is_fetched_again_replaces_its_blob(store: Store, root: Path, view: View) -> None:
    publish(store, root, "tiny", FILE)
    model = viewed(REF, "tiny", FILE)
    ollama.update(store, CLAIM, (model,))
    held = os.open(root / FILE.path, os.O_RDONLY)
    fetch(store, FILE, uid="uid-tiny")
    assert os.fstat(held).st_nlink == 0, "the replaced file is gone"
    os.close(held)
    attest(store, "uid-tiny", FILE)
    ollama.update(store, CLAIM, (model,))
    assert view.blob(view.manifests()[PATH]["layers"][0]).samefile(root / FILE.path)


def test_files_of_the_view_are_no_files_of_the_store(store: Store, root: Path) -> None:
    publish(store, root, "tiny", FILE)
    ollama.update(store, CLAIM, (viewed(REF, "tiny", FILE),))
    assert store.records.unheld() == UnheldFiles((), (), ())
    assert store.records.usage().unheld == 0
    store.records.settle(holder("second"), plan_of(FILE))
    found = store.records.check((FILE.record,), "uid-tiny")
    assert (found.missing, found.unattested) == ((), ()), "a further link changes nothing"


def test_a_users_own_file_is_linked_symbolically_and_its_deletion_frees_it(
    store: Store, root: Path, view: View
) -> None:
    publish(store, root, "mine", MINE)
    assert ollama.update(store, CLAIM, (viewed("local:mine.gguf", "mine", MINE),)).symbolic == 0
    assert view.contents("registry.ollama.ai/library/mine/latest")["model"] == MINE.content
    assert (root / MINE.path).stat().st_nlink == 1


def test_a_link_is_right_wherever_the_volume_is_mounted(store: Store, root: Path, tmp_path: Path) -> None:
    publish(store, root, "mine", MINE)
    ollama.update(store, CLAIM, (viewed("local:mine.gguf", "mine", MINE),))
    root.rename(tmp_path / "elsewhere")
    moved = View(tmp_path / "elsewhere")
    assert moved.contents("registry.ollama.ai/library/mine/latest")["model"] == MINE.content


def test_two_objects_with_one_ref_and_different_bytes_are_both_listed(store: Store, root: Path, view: View) -> None:
    publish(store, root, "one", FILE)
    publish(store, root, "two", SECOND)
    models = (viewed(REF, "two", SECOND), viewed("hf:acme/tiny:Q8_0", "one", SECOND))
    assert ollama.update(store, CLAIM, models).listed == ("hf.co/acme/tiny:Q8_0",), "one content, one name"
    other = sample("hf/acme/tiny@v2/tiny.Q8_0.gguf", size=700, seed=5)
    publish(store, root, "three", other)
    models = (viewed("hf:acme/tiny@v2:Q8_0", "three", other), viewed("hf:acme/tiny:Q8_0", "one", SECOND))
    ollama.update(store, CLAIM, models)
    assert view.contents(SECOND_PATH)["model"] == SECOND.content
    assert view.contents("registry.ollama.ai/library/three/latest")["model"] == other.content


def test_a_second_claim_on_the_volume_keeps_its_models(store: Store, root: Path, view: View) -> None:
    publish(store, root, "tiny", FILE)
    publish(store, root, "second", SECOND)
    ollama.update(store, OTHER_CLAIM, (viewed("hf:acme/tiny:Q8_0", "second", SECOND),))
    ollama.update(store, CLAIM, (viewed(REF, "tiny", FILE),))
    assert set(view.manifests()) == {PATH, SECOND_PATH}
    ollama.remove(store, CLAIM)
    assert set(view.manifests()) == {SECOND_PATH}
    assert view.contents(SECOND_PATH)["model"] == SECOND.content
    ollama.remove(store, OTHER_CLAIM)
    assert not (root / "views").exists()


def test_a_claim_of_another_name_takes_over_the_view_of_its_volume(store: Store, root: Path, view: View) -> None:
    publish(store, root, "tiny", FILE)
    publish(store, root, "second", SECOND)
    both = (viewed(REF, "tiny", FILE), viewed("hf:acme/tiny:Q8_0", "second", SECOND))
    ollama.update(store, CLAIM, both)
    store.records.remove("uid-second", delete=False)
    renamed = Claim("models", "restored")
    ollama.update(store, renamed, both[:1])
    assert {path: one["annotations"]["models.rbee.dev/claim"] for path, one in view.manifests().items()} == {
        PATH: "models/restored"
    }


def test_a_view_that_is_switched_off_leaves_nothing(store: Store, root: Path) -> None:
    publish(store, root, "tiny", FILE)
    publish(store, root, "mine", MINE)
    before, private = files_below(root), set((root / ".provisioner").iterdir())
    ollama.update(store, CLAIM, (viewed(REF, "tiny", FILE), viewed("local:mine.gguf", "mine", MINE)))
    assert files_below(root) != before
    for _ in range(2):
        ollama.remove(store, CLAIM)
        assert files_below(root) == before
        assert not (root / "views").exists()
        assert set((root / ".provisioner").iterdir()) == private


def test_an_empty_view_has_the_directories_that_ollama_would_make(store: Store, view: View) -> None:
    ollama.update(store, CLAIM, ())
    assert {path.name for path in view.directory.iterdir()} == {"blobs", "manifests"}


def test_a_directory_of_another_program_is_neither_used_nor_removed(store: Store, root: Path) -> None:
    put(root, "views/ollama/manifests/registry.ollama.ai/library/tiny/latest", b"{}")
    with pytest.raises(PathConflict, match="views/ollama on the volume was made by another program"):
        ollama.update(store, CLAIM, ())
    ollama.remove(store, CLAIM)
    assert files_below(root) == {"views/ollama/manifests/registry.ollama.ai/library/tiny/latest"}


def test_what_ollama_itself_wrote_into_the_view_stays(store: Store, root: Path, view: View) -> None:
    """As with a view that is mounted for writing, against the advice."""
    publish(store, root, "tiny", FILE)
    model = viewed(REF, "tiny", FILE)
    ollama.update(store, CLAIM, (model,))
    digest = random.Random(1).randbytes(32).hex()
    put(root, f"views/ollama/blobs/sha256-{digest}", b"{}")
    put(root, "views/ollama/blobs/sha256-0-partial", b"")
    config = {"mediaType": "c", "digest": f"sha256:{digest}", "size": 2}
    document = json.dumps({"config": config, "layers": []}).encode()
    put(root, "views/ollama/manifests/registry.ollama.ai/library/pulled/latest", document)
    for models in ((model,), ()):
        ollama.update(store, CLAIM, models)
        assert {f"sha256-{digest}", "sha256-0-partial"} <= view.blobs()
        assert "registry.ollama.ai/library/pulled/latest" in view.manifests()


@pytest.mark.parametrize("where", ["views", "views/ollama", "views/ollama/blobs", "views/ollama/manifests/hf.co"])
def test_no_symbolic_link_is_followed(store: Store, root: Path, tmp_path: Path, where: str) -> None:
    publish(store, root, "tiny", FILE)
    ollama.update(store, CLAIM, ())
    outside = tmp_path / "outside"
    outside.mkdir()
    path = root / where
    if path.exists():
        path.rename(tmp_path / "former")
    path.symlink_to(outside)
    with pytest.raises(PathConflict):
        ollama.update(store, CLAIM, (viewed(REF, "tiny", FILE),))
    assert not any(outside.iterdir())


@pytest.mark.parametrize("plant", [Path.symlink_to, Path.hardlink_to])
def test_links_that_were_planted_are_neither_read_nor_written_nor_emptied(
    store: Store, root: Path, view: View, plant: Callable[[Path, Path], None]
) -> None:
    """By another user of the volume, under every name that is written, also the temporary one."""
    publish(store, root, "tiny", FILE)
    models = (viewed(REF, "tiny", FILE),)
    before = set((root / ".provisioner").iterdir())
    ollama.update(store, CLAIM, models)
    written = [path for path in view.directory.rglob("*") if path.is_file()]
    temporary = "view-" + hashlib.sha256(f"{CLAIM.namespace}/{CLAIM.name}".encode()).hexdigest()[:16]
    assert {path.name for path in written} >= {"Q4_K_M"}
    assert set((root / ".provisioner").iterdir()) - before == {root / ".provisioner/view-ollama.json"}
    outside = put(root.parent, "outside", b"a secret")
    for path in (*written, root / ".provisioner" / temporary):
        path.unlink(missing_ok=True)
        plant(path, outside)
    for wanted, blobs in ((models, 2), ((), 0)):
        ollama.update(store, CLAIM, wanted)
        assert outside.read_bytes() == b"a secret"
        assert len(view.blobs()) == blobs
        assert [path for path in (view.directory / "blobs").iterdir() if path.samefile(outside)] == []
    assert (root / FILE.path).read_bytes() == FILE.content


def test_files_and_directories_have_the_modes_of_the_store(root: Path, view: View) -> None:
    with Store.open(root, None, Modes(0o750, 0o440)) as store:
        publish(store, root, "tiny", FILE)
        ollama.update(store, CLAIM, (viewed(REF, "tiny", FILE),))
    modes = {path.is_dir(): path.stat().st_mode & 0o777 for path in view.directory.rglob("*")}
    assert modes == {True: 0o750, False: 0o440}


def test_a_view_with_too_many_files_is_told(
    store: Store, root: Path, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user of a volume whose directories a group may write can fill them."""
    monkeypatch.setattr(manifests, "_MOST", 3)
    publish(store, root, "tiny", FILE)
    ollama.update(store, CLAIM, (viewed(REF, "tiny", FILE),))
    for number in range(3):
        put(root, f"views/ollama/manifests/a/b/c/{number}", b"{}")
    with pytest.raises(VolumeUnsuitable, match="views/ollama/manifests has more than 3 files"):
        ollama.update(store, CLAIM, ())
    assert len(view.paths()) == 4


@needs_root
def test_a_file_of_another_user_is_linked_symbolically() -> None:
    """As of fs.protected_hardlinks, which every distribution sets: the kernel refuses such a hard link."""
    with shared_volume(owner=1000, group=1000) as root:
        path = put(root, FILE.path, FILE.content)
        path.chmod(0o644)
        for directory in (root / "hf", root / "hf/acme", root / "hf/acme/tiny"):
            os.chown(directory, 1000, 1000)
        with acting_as(1000), Store.open(root, None) as store:
            store.records.settle(holder("tiny"), plan_of(FILE))
            attest_adopted(store)
            result = ollama.update(store, CLAIM, (viewed(REF, "tiny", FILE),))
        if Path("/proc/sys/fs/protected_hardlinks").read_text().strip() == "1":
            assert result.symbolic == 1
        assert View(root).contents(PATH)["model"] == FILE.content


def attest_adopted(store: Store) -> None:
    found = store.files.published(FILE.planned)
    assert found is not None
    store.files.record_digest("uid-tiny", FILE.record, found.version)
