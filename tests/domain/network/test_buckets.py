"""Where a bucket is asked, and the region that is signed for; both as botocore does it for each provider."""

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from model_provisioner.domain.credentials.credentials import AwsKeys
from model_provisioner.domain.credentials.sigv4 import presigned
from model_provisioner.domain.network.buckets import Bucket, checked_region, hinted_region, known_region
from tests.support import s3_servers, tools

REGIONS = {
    "https://s3.amazonaws.com": None,
    "https://s3.eu-central-1.amazonaws.com": "eu-central-1",
    "https://s3-us-west-2.amazonaws.com": "us-west-2",
    "https://s3.dualstack.us-east-2.amazonaws.com": "us-east-2",
    "https://s3-fips.us-gov-west-1.amazonaws.com": "us-gov-west-1",
    "https://s3.cn-north-1.amazonaws.com.cn": "cn-north-1",
    "https://account.r2.cloudflarestorage.com": "auto",
    "https://account.eu.r2.cloudflarestorage.com": "auto",
    "https://storage.googleapis.com": "auto",
    "https://s3.oss-cn-hangzhou.aliyuncs.com": "cn-hangzhou",
    "https://oss-ap-southeast-1-internal.aliyuncs.com": "ap-southeast-1",
    "https://cos.ap-beijing.myqcloud.com": "ap-beijing",
    "https://cos.ap-shenzhen-fsi.myqcloud.com": "ap-shenzhen-fsi",
    "https://oss-cn-hangzhou.aliyuncs.com.example": None,
    "https://s3.us-west-004.backblazeb2.com": None,
    "https://minio.example": None,
    "https://s3.eu-central-1.amazonaws.com.example": None,
    "https://evilr2.cloudflarestorage.com.example": None,
    "http://127.0.0.1:9000": None,
}


@pytest.mark.parametrize(("endpoint", "region"), REGIONS.items())
def test_the_region_of_a_host(endpoint: str, region: str | None) -> None:
    assert known_region(endpoint) == region


HINTS = {
    "https://s3.us-west-004.backblazeb2.com": "us-west-004",
    "https://s3.fr-par.scw.cloud": "fr-par",
    "https://s3.gra.io.cloud.ovh.net": "gra",
    "https://s3-eu-central-1.ionoscloud.com": "eu-central-1",
    "https://minio.example.com": None,
    "https://s3.example": None,
    "https://s3.example.com": None,
    "http://10.0.0.1:9000": None,
}
"""A hint is tried only after the default region was refused."""


@pytest.mark.parametrize(("endpoint", "region"), HINTS.items())
def test_the_region_that_a_host_hints_at(endpoint: str, region: str | None) -> None:
    assert hinted_region(endpoint) == region


URLS = {
    ("https://s3.amazonaws.com", "models", "eu-west-1"): "https://models.s3.eu-west-1.amazonaws.com/",
    ("https://s3.amazonaws.com", "my.models", "eu-west-1"): "https://s3.eu-west-1.amazonaws.com/my.models/",
    ("https://s3.amazonaws.com", "models", "cn-north-1"): "https://models.s3.cn-north-1.amazonaws.com.cn/",
    ("https://s3.eu-west-1.amazonaws.com", "models", "eu-west-1"): "https://models.s3.eu-west-1.amazonaws.com/",
    (
        "https://s3.dualstack.eu-west-1.amazonaws.com",
        "models",
        "x",
    ): "https://models.s3.dualstack.eu-west-1.amazonaws.com/",
    ("https://a.r2.cloudflarestorage.com", "models", "auto"): "https://a.r2.cloudflarestorage.com/models/",
    ("https://storage.googleapis.com", "models", "auto"): "https://storage.googleapis.com/models/",
    ("https://s3.oss-cn-hangzhou.aliyuncs.com", "models", "x"): "https://models.s3.oss-cn-hangzhou.aliyuncs.com/",
    ("https://cos.ap-beijing.myqcloud.com", "m-125", "x"): "https://m-125.cos.ap-beijing.myqcloud.com/",
    ("http://minio:9000", "models", "us-east-1"): "http://minio:9000/models/",
    ("https://gateway.example/s3", "models", "us-east-1"): "https://gateway.example/s3/models/",
}


@pytest.mark.parametrize(("bucket", "url"), URLS.items(), ids=str)
def test_the_address_of_a_bucket(bucket: tuple[str, str, str], url: str) -> None:
    assert Bucket(*bucket).url == url


def test_a_key_is_percent_encoded_once() -> None:
    bucket = Bucket("http://minio:9000", "b", "us-east-1")
    assert bucket.url_of("a b/c+d%20?é~.gguf") == "http://minio:9000/b/a%20b/c%2Bd%2520%3F%C3%A9~.gguf"


@pytest.mark.parametrize("text", ["", "evil.example", "a/b", "A", "-a", "a-", "a" * 41, "us-east-1\n", "é"])
def test_what_may_not_become_part_of_a_host_is_no_region(text: str) -> None:
    assert checked_region(text) is None


@pytest.mark.parametrize("text", ["us-east-1", "auto", "eu", "garage", "eu-isoe-west-1"])
def test_servers_name_their_regions_as_they_like(text: str) -> None:
    assert checked_region(text) == text


PROVIDERS: dict[str, tuple[str, str | None, str, str, str]] = {
    # what is asked, the endpoint of botocore, the region that a server tells if it is asked, bucket, addressing style
    "Amazon S3": ("https://s3.amazonaws.com", None, "eu-west-1", "models", "virtual"),
    "Amazon S3, a dot in the name": ("https://s3.amazonaws.com", None, "eu-west-1", "my.models", "auto"),
    "Amazon S3, the first region": (
        "https://s3.amazonaws.com",
        "https://s3.us-east-1.amazonaws.com",
        "us-east-1",
        "models",
        "virtual",
    ),
    "Amazon S3 in China": ("https://s3.amazonaws.com", None, "cn-north-1", "models", "auto"),
    "Amazon S3 with IPv6": (
        "https://s3.dualstack.eu-west-1.amazonaws.com",
        "https://s3.dualstack.eu-west-1.amazonaws.com",
        "",
        "models",
        "virtual",
    ),
    "R2": ("https://0a1b.r2.cloudflarestorage.com", "https://0a1b.r2.cloudflarestorage.com", "", "models", "auto"),
    "R2 in Europe": (
        "https://0a1b.eu.r2.cloudflarestorage.com",
        "https://0a1b.eu.r2.cloudflarestorage.com",
        "",
        "models",
        "auto",
    ),
    "Google Cloud Storage": ("https://storage.googleapis.com", "https://storage.googleapis.com", "", "models", "auto"),
    "Google Cloud Storage, a dot": (
        "https://storage.googleapis.com",
        "https://storage.googleapis.com",
        "",
        "my.models",
        "auto",
    ),
    "Ceph": ("https://rgw.example:7480", "https://rgw.example:7480", "default", "models", "auto"),
    "MinIO": ("http://minio:9000", "http://minio:9000", "us-east-1", "models", "auto"),
    "a gateway with a path": ("https://gateway.example/s3", "https://gateway.example/s3", "garage", "models", "auto"),
    "Alibaba OSS": (
        "https://s3.oss-cn-hangzhou.aliyuncs.com",
        "https://s3.oss-cn-hangzhou.aliyuncs.com",
        "",
        "models",
        "virtual",
    ),
    "Tencent COS": (
        "https://cos.ap-beijing.myqcloud.com",
        "https://cos.ap-beijing.myqcloud.com",
        "",
        "models-125",
        "virtual",
    ),
}


@pytest.fixture(scope="module")
def botocore() -> Iterator["subprocess.Popen[str]"]:
    command = [tools.require("moto"), "-I", str(s3_servers.MODULE / "presign_by_botocore.py")]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("token", [None, "session/token+with=signs"], ids=["lasting", "temporary"])
@pytest.mark.parametrize("name", PROVIDERS)
def test_botocore_presigns_the_same_address(botocore: "subprocess.Popen[str]", name: str, token: str | None) -> None:
    endpoint, asked, told, bucket, style = PROVIDERS[name]
    region, keys, key = known_region(endpoint) or told, AwsKeys("AKID", "secret/+", token), "a b/m+d%20é.gguf"
    assert botocore.stdin is not None
    assert botocore.stdout is not None
    line = [asked, region, style, bucket, key, keys.key_id, keys.secret, keys.session_token]
    print(json.dumps(line), file=botocore.stdin, flush=True)
    theirs = botocore.stdout.readline().strip()
    stamp = parse_qs(urlsplit(theirs).query)["X-Amz-Date"][0]
    moment = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    ours = presigned("GET", Bucket(endpoint, bucket, region).url_of(key), keys, region, moment, 900)
    assert urlsplit(ours)[:3] == urlsplit(theirs)[:3]
    assert parse_qs(urlsplit(ours).query) == parse_qs(urlsplit(theirs).query)
