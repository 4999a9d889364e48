"""Where a bucket is asked: host, style of the address, and the region that is signed for.

`transfer.clients.buckets.s3_client` calls this. The buckets of Amazon, Alibaba and Tencent have a host of their own in
their region ("virtual style"), because the path style is not served for all of them; a bucket with a dot in its name
has no certificate there. All other servers (MinIO, Ceph, R2, Google) serve the path style, which every tool chooses for
an endpoint that it does not know.
Source: docs.aws.amazon.com/AmazonS3, "Virtual hosting of buckets"; developers.cloudflare.com/r2/api/s3;
cloud.google.com/storage/docs/interoperability; help.aliyun.com/en/oss, "Accessing OSS with the AWS SDK"; the endpoints
of Tencent's COS are cos.REGION.myqcloud.com.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote

from model_provisioner.domain.network.addresses import Origin

DEFAULT_REGION = "us-east-1"
"""That of a server which tells none. Servers with one region accept it, or tell theirs."""
_REGION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_GLOBAL = "s3.amazonaws.com"
_AMAZON = re.compile(r"s3(?:-fips)?(?:\.dualstack)?[.-]([a-z]{2}(?:-[a-z]+)+-[0-9])\.amazonaws\.com(?:\.cn)?")
_ALIBABA = re.compile(r"(?:s3\.)?oss-([a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com")
_TENCENT = re.compile(r"cos\.([a-z]{2,}(?:-[a-z0-9]+)+)\.myqcloud\.com")
_VIRTUAL = (_AMAZON, _ALIBABA, _TENCENT)
_HINT = re.compile(r"s3[.-]([a-z0-9-]+)\.(?:[a-z0-9-]+\.)+[a-z]{2,}")
_WITHOUT_REGIONS = re.compile(r"(?:.*\.)?(?:r2\.cloudflarestorage\.com|storage\.googleapis\.com)")


def checked_region(text: str) -> str | None:
    """`text` if it can be the name of a region, which becomes part of a host. None otherwise."""
    return text if _REGION.fullmatch(text) else None


def is_bucket_name(text: str) -> bool:
    """Whether a bucket can have this name, by the rules of Amazon S3, which every other server accepts."""
    return bool(_NAME.fullmatch(text)) and ".." not in text


def known_region(endpoint: str) -> str | None:
    """The region that the host of `endpoint` is for; None if the server has to be asked."""
    host = Origin.of(endpoint).host
    if _WITHOUT_REGIONS.fullmatch(host):
        return "auto"
    named = _virtual(host)
    return checked_region(named[1]) if named else None


def hinted_region(endpoint: str) -> str | None:
    """The region that the host of `endpoint` most likely is for, by the habit of providers: s3.REGION.example.com.

    For a server that does not accept a signature for the default region, and does not tell its own.
    """
    named = _HINT.fullmatch(Origin.of(endpoint).host)
    return checked_region(named[1]) if named else None


def is_global(endpoint: str) -> bool:
    """Whether `endpoint` stands for the buckets of Amazon in all regions."""
    return Origin.of(endpoint).host == _GLOBAL


@dataclass(frozen=True, slots=True)
class Bucket:
    """The bucket `name` in `region`, asked at the normalised URL `endpoint`."""

    endpoint: str
    name: str
    region: str

    @property
    def url(self) -> str:
        """The address of the bucket, with a slash at its end."""
        host = Origin.of(self.endpoint).host
        if is_global(self.endpoint):
            host = amazon_host("s3", self.region)
        elif _virtual(host) is None:
            return f"{self.endpoint}/{self.name}/"
        return f"https://{host}/{self.name}/" if "." in self.name else f"https://{self.name}.{host}/"

    def url_of(self, key: str) -> str:
        """The address of an object. Percent-encoded once, as the signature has it."""
        return self.url + quote(key, safe="/")


def _virtual(host: str) -> re.Match[str] | None:
    """The region is the first group, if each bucket has a host of its own below `host`."""
    return next((found for pattern in _VIRTUAL if (found := pattern.fullmatch(host))), None)


def amazon_host(service: str, region: str) -> str:
    """The host of a service of Amazon's in `region`."""
    return f"{service}.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
