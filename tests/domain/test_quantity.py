"""Parsing of quantities, and formatting for users."""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity as kubernetes_parse_quantity

from model_provisioner.domain.quantity import format_bytes, format_duration, format_rate, parse_duration, parse_quantity


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (52428800, 52428800),
        ("0", 0),
        ("52428800", 52428800),
        ("1Ki", 1024),
        ("50Mi", 52428800),
        ("1.5Gi", 1610612736),
        ("2Ti", 2 * 1024**4),
        ("1Pi", 1024**5),
        ("1k", 1000),
        ("50M", 50_000_000),
        ("2G", 2 * 10**9),
        ("0.5T", 5 * 10**11),
        ("1P", 10**15),
        ("2e9", 2 * 10**9),
        ("2E+3", 2000),
        ("1.", 1),
        (".5Ki", 512),
        ("0.1", 1),
        ("1.1", 2),
        ("15e-1", 2),
        ("1.0001Ki", 1025),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_parse_quantity(value: str | int, expected: int) -> None:
    assert parse_quantity(value) == expected


@pytest.mark.parametrize(
    "value",
    ["", " ", "x", "1e5Mi", -1, "50MB", "50MiB", "50 Mi", " 50Mi", "50Mi\n", "50mi", "50K", "1Ei", "1E", "100m", "1n",
     "-1", "+1", ".", "1..5", "1,5Gi", "1e", "1e999999999", "0x10", "1_000", "٣", "inf", "nan", "1" * 21],
)  # fmt: skip
def test_what_is_not_an_amount_is_refused_with_an_example(value: str | int) -> None:
    with pytest.raises(ValueError, match=r"is not an amount of bytes: write a number such as 52428800, 50Mi or 1\.5Gi"):
        parse_quantity(value)


@pytest.mark.parametrize("value", ["9223372036854775808", 2**63, "8192Pi", "1e19", "1e99"])
def test_more_than_the_api_can_hold_is_refused(value: str | int) -> None:
    with pytest.raises(ValueError, match="is more than 9223372036854775807 bytes"):
        parse_quantity(value)


@given(
    number=st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,6})?", fullmatch=True),
    suffix=st.sampled_from(["", "Ki", "Mi", "Gi", "k", "M", "G"]),
)
def test_agrees_with_the_client_of_kubernetes(number: str, suffix: str) -> None:
    theirs: Decimal = kubernetes_parse_quantity(number + suffix)  # type: ignore[no-untyped-call]
    assert parse_quantity(number + suffix) == math.ceil(theirs)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (-1, "0 B"),
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (10 * 1024 - 1, "9.9 KiB"),
        (1024**2 - 1, "1023 KiB"),
        (668788096, "637 MiB"),
        (4 * 1024**3 + 2**29, "4.5 GiB"),
        (40 * 1024**3, "40 GiB"),
        (1024**5, "1 PiB"),
        (5000 * 1024**5, "5000 PiB"),
    ],
)
def test_format_bytes(count: int, expected: str) -> None:
    assert format_bytes(count) == expected


@given(count=st.integers(0, 2**63 - 1))
def test_a_formatted_amount_is_never_more_than_there_is(count: int) -> None:
    shown = parse_quantity(format_bytes(count).removesuffix("B").replace(" ", ""))
    assert shown <= count + 1
    assert count <= shown * 1.1 + 1


def test_format_rate() -> None:
    assert format_rate(52428800) == "50 MiB/s"
    assert format_rate(0.7) == "0 B/s"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "0s"),
        (0, "0s"),
        (11, "11s"),
        (59.9, "59s"),
        (60, "1m00s"),
        (125, "2m05s"),
        (3599, "59m59s"),
        (3725, "1h02m"),
        (86399, "23h59m"),
        (3 * 86400 + 4 * 3600 + 59, "3d04h"),
    ],
)
def test_format_duration(seconds: float, expected: str) -> None:
    assert format_duration(seconds) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("1.5", 1.5),
        ("30s", 30),
        ("10m", 600),
        ("1h30m", 5400),
        ("1h1m1.5s", 3661.5),
        ("2h5", 7205),
    ],
)
def test_parse_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "soon", "-1s", "1d", "1m1h", "1 s", "inf", "1e3", "9" * 99, "1s\n", "١s"])
def test_what_is_not_a_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write 90, 30s, 10m or 1h30m"):
        parse_duration(text)
