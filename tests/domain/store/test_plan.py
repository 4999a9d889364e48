"""The key of an unfinished file."""

from dataclasses import replace

from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import PlannedFile


def test_a_part_is_bound_to_the_identity_of_its_file() -> None:
    file = PlannedFile("hf/a/b/x.gguf", 10, Digest("ab" * 32), "hf:a/b:x.gguf", "https://hub/x")
    others = [
        replace(file, size=11),
        replace(file, digest=Digest("cd" * 32)),
        replace(file, digest=None),
        replace(file, source="hf:a/c:x.gguf"),
        replace(file, source="hf:a/b:x.gguf at https://mirror.example"),
    ]
    assert len({one.part_key for one in [file, *others]}) == len(others) + 1
    assert replace(file, url="https://mirror/x").part_key == file.part_key
