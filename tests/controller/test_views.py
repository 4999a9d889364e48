"""The view of Ollama follows the objects: Ready, deleted, lost, and across restarts of the operator."""

import contextlib
import os
from pathlib import Path

from tests.support.ggufs import tiny_gguf, write_split
from tests.support.programs import eventually
from tests.support.stand import Stand
from tests.support.views import View

FILE, SECOND = "hf/acme/tiny/tiny.Q4_K_M.gguf", "hf/acme/tiny/tiny.Q8_0.gguf"
NAME, SECOND_NAME = "hf.co/acme/tiny/Q4_K_M", "hf.co/acme/tiny/Q8_0"


def until_listed(bench: Stand, *names: str) -> View:
    view = View(bench.volume)
    eventually(lambda: view.paths() == set(names), f"Ollama lists {names or 'nothing'}")
    return view


def test_ready_models_are_listed_and_deleted_ones_are_not(bench: Stand) -> None:
    bench.start_operator("--view=ollama")
    bench.apply("tiny", modelRef="hf:acme/tiny", reclaimPolicy="Delete")
    bench.apply("kept", modelRef="hf:acme/tiny:Q8_0")
    view = until_listed(bench, NAME, SECOND_NAME)
    assert view.contents(NAME)["model"] == tiny_gguf()
    assert view.blob(view.manifests()[NAME]["layers"][0]).samefile(bench.volume / FILE)
    held = os.open(bench.volume / FILE, os.O_RDONLY)
    bench.delete("tiny")
    bench.until_gone("tiny")
    assert os.fstat(held).st_nlink == 0, "its bytes are freed when the object is gone"
    os.close(held)
    until_listed(bench, SECOND_NAME)
    bench.delete("kept")
    bench.until_gone("kept")
    until_listed(bench)
    eventually(lambda: (bench.volume / SECOND).stat().st_nlink == 1, "the kept file has only its own name")


def test_a_view_is_repaired_at_the_start_and_removed_when_it_is_switched_off(bench: Stand) -> None:
    operator = bench.start_operator("--view=ollama")
    bench.apply("tiny", modelRef="hf:acme/tiny")
    bench.apply("second", modelRef="hf:acme/tiny:Q8_0")
    view = until_listed(bench, NAME, SECOND_NAME)
    operator.kill()
    view.blob(view.manifests()[NAME]["layers"][0]).unlink()
    (view.directory / "manifests" / SECOND_NAME).unlink()
    operator = bench.start_operator("--view=ollama")
    eventually(lambda: view.paths() == {NAME, SECOND_NAME} and len(view.blobs()) == 4, "the view is complete again")
    assert view.contents(NAME)["model"] == tiny_gguf()
    assert bench.ready("tiny")["reason"] == bench.ready("second")["reason"] == "Available"
    operator.kill()
    bench.start_operator()
    eventually(lambda: not (bench.volume / "views").exists(), "the view is removed")
    assert bench.published() == [FILE, SECOND]
    assert (bench.volume / FILE).stat().st_nlink == 1


def test_a_model_that_is_lost_leaves_the_view_until_it_is_fetched_again(bench: Stand) -> None:
    bench.start_operator("--view=ollama")
    bench.apply("tiny", modelRef="hf:acme/tiny")
    view = until_listed(bench, NAME)
    lost = (bench.volume / FILE).stat().st_ino
    (bench.volume / FILE).rename(bench.volume / "kept-so-that-its-inode-is-not-used-again")
    bench.patch("tiny", annotations={"models.rbee.dev/verifyAt": "2026-01-01T00:00:00Z"})

    def is_linked() -> bool:
        with contextlib.suppress(FileNotFoundError):  # the operator adds and removes them meanwhile
            blobs = [(view.directory / "blobs" / name).stat().st_ino for name in view.blobs()]
            return (bench.volume / FILE).stat().st_ino in blobs and lost not in blobs
        return False

    eventually(is_linked, "the new file is in the view, and the former one is not")


def test_a_users_own_file_has_the_name_of_its_object_and_a_split_model_is_left_out(
    bench: Stand, tmp_path: Path
) -> None:
    repository = bench.hub.repository("acme/big")
    for part in write_split(tmp_path, "big.Q4_K_M", parts=2):
        repository.add(part.name, part.read_bytes())
    mine = bench.volume / "local/mine.gguf"
    mine.parent.mkdir()
    mine.write_bytes(tiny_gguf(seed=3))
    bench.start_operator("--view=ollama")
    bench.apply("big", modelRef="hf:acme/big")
    bench.until("big", "Available")
    bench.apply("mine", modelRef="local:mine.gguf")
    name = "registry.ollama.ai/library/mine/latest"
    view = until_listed(bench, name)
    assert view.contents(name)["model"] == tiny_gguf(seed=3)
    message = (
        f"not in the view of Ollama: {bench.namespace}/big is split into several files, which Ollama does not read"
    )
    eventually(lambda: message in bench.operator_output(), "the log says why")
    assert bench.operator_output().count(message) == 1
