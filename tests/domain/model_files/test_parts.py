"""Models in several files: all parts, missing parts, and raw pieces."""

import pytest

from model_provisioner.domain.errors import IncompleteModel, UnsupportedSource
from model_provisioner.domain.model_files.selection import other_models, select
from tests.domain.model_files.listings import DEEPSEEK, GOLIATH, PIECES


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (None, DEEPSEEK[3:5]),
        ("BF16", DEEPSEEK[:3]),
        ("UD-Q4_K_XL", DEEPSEEK[5:7]),
        ("BF16/DeepSeek-V3-BF16-00002-of-00003.gguf", DEEPSEEK[:3]),
    ],
)
def test_all_parts_of_a_split_model_are_meant(selector: str | None, expected: list[str]) -> None:
    assert select(DEEPSEEK[::-1], selector) == tuple(expected)


@pytest.mark.parametrize("selector", ["Q8_0", "Q8_0/DeepSeek-V3-Q8_0-00003-of-00003.gguf"])
def test_missing_parts_are_named(selector: str) -> None:
    with pytest.raises(IncompleteModel, match=r"1 of 3 parts .*: Q8_0/DeepSeek-V3-Q8_0-00002-of-00003\.gguf; choose"):
        select(DEEPSEEK, selector)


def test_a_name_that_claims_very_many_parts_costs_little() -> None:
    paths = [f"m{number}-00001-of-04096.gguf" for number in range(2000)]
    with pytest.raises(IncompleteModel, match=r"4095 of 4096 parts .* and 4075 more"):
        select(paths, "m7-00001-of-04096.gguf")


@pytest.mark.parametrize("there", [1, 4097])
def test_a_model_of_too_many_parts_is_refused(there: int) -> None:
    parts = [f"m-{number:05}-of-04097.gguf" for number in range(1, there + 1)]
    for selector in (None, parts[0]):
        with pytest.raises(UnsupportedSource, match=r"m-00001-of-04097\.gguf is one of 4097 parts, .* may have 4096: "):
            select(parts, selector)
    assert other_models([*parts, "x.gguf"], ["x.gguf"]) == []


def test_a_model_of_the_most_parts_is_selected() -> None:
    parts = tuple(f"m-{number:05}-of-04096.gguf" for number in range(1, 4097))
    assert select(parts[::-1], None) == parts
    assert other_models([*parts, "x.gguf"], ["x.gguf"]) == [parts]


@pytest.mark.parametrize(
    ("paths", "selector"),
    [
        (GOLIATH, "Q6_K"),
        (PIECES, None),
        (PIECES, "Q8_0"),
        (PIECES, "x.gguf"),
        (["mmproj-Q8_0.gguf", *PIECES], None),
        (["mmproj-Q8_0.gguf", *PIECES], "Q8_0"),
    ],
)
def test_raw_pieces_are_told_apart(paths: list[str], selector: str | None) -> None:
    with pytest.raises(UnsupportedSource, match=r"raw pieces.*\.gguf[.-](split-a|part1of2), "):
        select(paths, selector)
