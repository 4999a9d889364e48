"""Signs addresses for servers that speak S3 (AWS Signature Version 4, in the query of the address).

`transfer.clients.buckets.s3_client` calls `presigned` for every request with an access key, and hands such addresses to
the workers. It computes and sends nothing. botocore is not used: its `python-dateutil<3` excludes the Kubernetes
client, and its import alone takes more memory than the resolver may take for a bucket. The tests compare both.
Source: docs.aws.amazon.com/AmazonS3, "Authenticating Requests: Using Query Parameters".
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from model_provisioner.domain.credentials.credentials import AwsKeys

_ALGORITHM = "AWS4-HMAC-SHA256"
_PAYLOAD = "UNSIGNED-PAYLOAD"
MOST_SECONDS = 7 * 24 * 3600
"""The longest lifetime of a signed address that S3 accepts."""


def presigned(
    method: str,
    url: str,
    keys: AwsKeys,
    region: str,
    now: float,
    seconds: int,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> str:
    """`url` with `query` and a signature that is valid for `seconds` from `now` on (seconds since the epoch).

    `url` has no query, and its path is percent-encoded already, as S3 wants it: once. `headers` are signed, so they
    have to be sent as they are; others, such as Range and If-Match, may be added.
    """
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    parts = urlsplit(url)
    signed = {"host": parts.netloc, **{name.lower(): value for name, value in (headers or {}).items()}}
    names = ";".join(sorted(signed))
    asked = {
        **(query or {}),
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{keys.key_id}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(min(seconds, MOST_SECONDS)),
        "X-Amz-SignedHeaders": names,
        **({"X-Amz-Security-Token": keys.session_token} if keys.session_token else {}),
    }
    canonical_query = encoded(asked)
    canonical_headers = "".join(f"{name}:{signed[name].strip()}\n" for name in sorted(signed))
    request = "\n".join((method, parts.path or "/", canonical_query, canonical_headers, names, _PAYLOAD))
    text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    return f"{url}?{canonical_query}&X-Amz-Signature={_signature(keys.secret, scope, text)}"


def encoded(query: Mapping[str, str]) -> str:
    """A query in its canonical form: sorted, and percent-encoded with %20 for a space."""
    return "&".join(sorted(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items()))


def _signature(secret: str, scope: str, text: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
