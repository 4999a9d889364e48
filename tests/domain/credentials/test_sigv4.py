"""Signatures: the published example of Amazon's, and botocore's own for many requests."""

import json
import subprocess
from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_provisioner.domain.credentials.credentials import AwsKeys
from model_provisioner.domain.credentials.sigv4 import MOST_SECONDS, encoded, presigned
from tests.support import s3_servers, tools

# docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
EXAMPLE = AwsKeys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
MAY_24_2013 = 1369353600.0
SIGNATURE = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"


def test_the_published_example() -> None:
    url = "https://examplebucket.s3.amazonaws.com/test.txt"
    signed = presigned("GET", url, EXAMPLE, "us-east-1", MAY_24_2013, 86400)
    assert dict(parse_qsl(urlsplit(signed).query)) == {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request",
        "X-Amz-Date": "20130524T000000Z",
        "X-Amz-Expires": "86400",
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Signature": SIGNATURE,
    }


def test_an_address_lives_a_week_at_most() -> None:
    signed = presigned("GET", "https://h/b/k", EXAMPLE, "auto", 0, 10**9)
    assert f"X-Amz-Expires={MOST_SECONDS}&" in signed


def test_the_secret_is_not_in_the_address() -> None:
    assert EXAMPLE.secret not in presigned("GET", "https://h/b/k", EXAMPLE, "auto", 0, 60)


def test_a_query_is_sorted_and_percent_encoded() -> None:
    assert encoded({"b": "x y/z", "a": "+~", "B": "é"}) == "B=%C3%A9&a=%2B~&b=x%20y%2Fz"


Signer = Callable[[str, str, dict[str, str], AwsKeys], str]


@pytest.fixture(scope="module")
def botocore() -> Iterator[Signer]:
    """Returns botocore's signature of a request of May 24, 2013, which lives 900 seconds."""
    command = [tools.require("moto"), "-I", str(s3_servers.MODULE / "sign_by_botocore.py")]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        asked, answers = process.stdin, process.stdout
        assert asked is not None
        assert answers is not None

        def sign(method: str, url: str, headers: dict[str, str], keys: AwsKeys) -> str:
            line = [
                method,
                url,
                headers,
                keys.key_id,
                keys.secret,
                keys.session_token,
                "eu-west-1",
                900,
                "20130524T000000Z",
            ]
            print(json.dumps(line), file=asked, flush=True)
            return answers.readline().strip()

        yield sign


KEY = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)


@settings(deadline=None)  # the other process may wait for a core
@given(
    method=st.sampled_from(["GET", "HEAD"]),
    key=KEY,
    query=st.dictionaries(st.sampled_from(["prefix", "versionId", "list-type", "x"]), KEY, max_size=3),
    headers=st.sampled_from([{}, {"x-amz-checksum-mode": "ENABLED"}]),
    token=st.sampled_from([None, "session/token+with=signs"]),
    host=st.sampled_from(["https://b.s3.eu-west-1.amazonaws.com", "http://minio:9000/b", "http://[::1]:9000/b"]),
)
def test_botocore_signs_alike(
    botocore: Signer,
    method: str,
    key: str,
    query: dict[str, str],
    headers: dict[str, str],
    token: str | None,
    host: str,
) -> None:
    url = f"{host}/{quote(key, safe='/')}"
    keys = AwsKeys("AKID", "secret/+", token)
    ours = presigned(method, url, keys, "eu-west-1", MAY_24_2013, 900, query, headers)
    theirs = botocore(method, f"{url}?{encoded(query)}" if query else url, headers, keys)
    assert dict(parse_qsl(urlsplit(ours).query))["X-Amz-Signature"] == theirs
