"""Which statuses with a projector an operator can have written. Other forgeries are in `tests/controller`."""

from dataclasses import replace

import pytest

from model_provisioner.domain.lifecycle.credible import why_not_credible
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.modeldownload import Projector, Spec, Status
from tests.support.samples import MODEL

PROJECTOR = "hf/acme/tiny/mmproj-F16.gguf"


@pytest.mark.parametrize(
    ("path", "is_credible"), [(PROJECTOR, True), (MODEL.path, False), ("hf/acme/tiny/other.gguf", False)]
)
def test_the_projector_is_one_of_the_further_files(path: str, is_credible: bool) -> None:
    files = (*MODEL.files, FileRecord(PROJECTOR, 0))
    status = Status(model=replace(MODEL, files=files, projector=Projector(path)))
    why = why_not_credible(status, Spec("hf:acme/tiny"))
    assert why == (None if is_credible else "the projector is not one of the further files")
