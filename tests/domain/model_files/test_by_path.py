"""The files that a directory in the ref means."""

import pytest

from model_provisioner.domain.errors import AmbiguousModel, ProvisionError, SourceNotFound, UnsupportedSource
from model_provisioner.domain.model_files.selection import select

FOLDERS = [
    "Model-Q4_K_M.gguf",
    *(f"UD-IQ1_S/Model-UD-IQ1_S-{number:05}-of-00003.gguf" for number in (1, 2, 3)),
    "UD-IQ1_S/mmproj-F16.gguf",
    "v2/Q5_K_M/a.gguf",
    "v2/Q6_K/a.gguf",
    "MTP/mtp-Model-Q8_0.gguf",
    "onnx/model.onnx",
    "raw/x-Q8_0.gguf.part1of2",
    "X/x.gguf",
    "x/x.gguf",
]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("UD-IQ1_S/", FOLDERS[1:4]),
        ("ud-iq1_s/", FOLDERS[1:4]),
        ("v2/Q6_K/", ["v2/Q6_K/a.gguf"]),
        ("MTP/", ["MTP/mtp-Model-Q8_0.gguf"]),
        ("x/", ["x/x.gguf"]),
    ],
)
def test_a_directory_means_the_model_in_it(selector: str, expected: list[str]) -> None:
    assert select(FOLDERS[::-1], selector) == tuple(expected)


@pytest.mark.parametrize(
    ("selector", "error", "says"),
    [
        ("v2/", AmbiguousModel, r"2 models fit v2/: v2/Q5_K_M/a\.gguf, v2/Q6_K/a\.gguf; name one by its path, as"),
        ("V2/q5_k_m/a/", SourceNotFound, r"the directory V2/q5_k_m/a/ is not there; the repository has MTP/mtp-Model"),
        ("IQ1_S/", SourceNotFound, r"IQ1_S/ is not there; the repository has .*UD-IQ1_S/Model-UD-IQ1_S-00001"),
        ("onnx/", SourceNotFound, r"onnx/ holds no GGUF file, only 1 × \.onnx; the repository has"),
        ("raw/", UnsupportedSource, r"raw pieces"),
        ("Model-Q4_K_M.gguf/", SourceNotFound, r"is not there"),
    ],
)  # fmt: skip
def test_a_directory_without_one_model_lists_what_is_there(
    selector: str, error: type[ProvisionError], says: str
) -> None:
    with pytest.raises(error, match=says):
        select(FOLDERS, selector)


def test_directories_that_differ_in_case_are_told_apart() -> None:
    with pytest.raises(AmbiguousModel, match=r"2 models fit AB/: Ab/x\.gguf, aB/x\.gguf"):
        select(["Ab/x.gguf", "aB/x.gguf"], "AB/")
