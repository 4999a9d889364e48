"""Where a bucket is asked, and the region that is signed for."""

import pytest

from model_provisioner.domain.network.buckets import Bucket, checked_region, known_region

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
    "https://minio.example": None,
    "https://s3.eu-central-1.amazonaws.com.example": None,
    "https://evilr2.cloudflarestorage.com.example": None,
    "http://127.0.0.1:9000": None,
}


@pytest.mark.parametrize(("endpoint", "region"), REGIONS.items())
def test_the_region_of_a_host(endpoint: str, region: str | None) -> None:
    assert known_region(endpoint) == region


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
