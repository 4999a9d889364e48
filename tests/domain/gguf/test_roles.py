"""Which kinds of GGUF files are accepted in which role of a plan."""

import pytest

from model_provisioner.domain.errors import NotGGUF
from model_provisioner.domain.gguf.file_role import FileRole
from model_provisioner.domain.gguf.format import STRING
from model_provisioner.domain.gguf.header import GGUFHeader, read_header
from model_provisioner.domain.gguf.roles import check_role
from tests.support.gguf_headers import header, pair, string, tensor


def header_of(kind: bytes | None, architecture: bytes | None) -> GGUFHeader:
    keys = ((b"general.type", kind), (b"general.architecture", architecture))
    pairs = tuple(pair(key, STRING, string(value)) for key, value in keys if value is not None)
    content = header(pairs, (tensor(b"a", (4,)),))
    found = read_header(content + bytes(64), len(content) + 64)
    assert isinstance(found, GGUFHeader)
    return found


@pytest.mark.parametrize("role", [FileRole.MODEL, FileRole.NAMED])
@pytest.mark.parametrize("kind", [None, b"model", b"mmproj"])
def test_a_model_and_a_projector_are_accepted_as_models(kind: bytes | None, role: FileRole) -> None:
    check_role(header_of(kind, b"clip" if kind == b"mmproj" else b"llama"), role)


@pytest.mark.parametrize(
    ("kind", "role", "says"),
    [
        (b"adapter", FileRole.MODEL, r"^an adapter \(LoRA\), not a model: .* or this adapter by its path$"),
        (b"imatrix", FileRole.MODEL, "^an importance matrix, .* not a model"),
        (b"imatrix", FileRole.NAMED, "^an importance matrix, .* not a model"),
    ],
)
def test_a_gguf_file_that_is_no_model_is_told_as_what_it_is(kind: bytes, role: FileRole, says: str) -> None:
    with pytest.raises(NotGGUF, match=says):
        check_role(header_of(kind, b"llama"), role)


def test_an_adapter_is_accepted_if_its_own_path_was_asked_for() -> None:
    check_role(header_of(b"adapter", b"llama"), FileRole.NAMED)


@pytest.mark.parametrize("kind", [None, b"mmproj"])
def test_a_projector_has_the_architecture_clip(kind: bytes | None) -> None:
    check_role(header_of(kind, b"clip"), FileRole.PROJECTOR)


@pytest.mark.parametrize(
    ("kind", "architecture", "says"),
    [
        (
            b"model",
            b"llama",
            "^not a multimodal projector: its architecture is llama, that of projectors is clip; ask for",
        ),
        (None, None, "^not a multimodal projector: its architecture is not given"),
        (b"adapter", b"llama", "^not a multimodal projector"),
    ],
)
def test_another_file_is_no_projector(kind: bytes | None, architecture: bytes | None, says: str) -> None:
    with pytest.raises(NotGGUF, match=says):
        check_role(header_of(kind, architecture), FileRole.PROJECTOR)
