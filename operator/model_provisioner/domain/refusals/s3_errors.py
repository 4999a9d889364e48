"""Maps an error of a server that speaks S3 to an error of ours, with what the user can do about it.

`transfer.clients.buckets.s3_client` calls `s3_error` with the code that the server gives in XML, and
`transfer.download.requests.remote_file` calls `range_error` with a status alone. No text of the server is shown, nor a
code that is not known here. Source: docs.aws.amazon.com/AmazonS3/latest/API, "Error responses"; R2 adds ExpiredRequest,
versitygw XAdminUserNotFound; the two codes about domains are of Alibaba's OSS and Tencent's COS.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from model_provisioner.domain.errors import (
    AccessDenied,
    ProvisionError,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
    UnsupportedSource,
)
from model_provisioner.domain.network.buckets import checked_region
from model_provisioner.domain.refusals.http_errors import http_error
from model_provisioner.domain.refusals.hub_errors import HubRequest
from model_provisioner.domain.refusals.retry_after import retry_after

_MOST_SKEW = 14 * 60.0  # seconds; the limit of S3, less a minute that an answer may take
NO_KEY_OF_ITS_OWN = (
    "the pod should have an access key of its own for this bucket, and has none: ask the administrator to bind a role "
    "to its service account (IRSA, EKS Pod Identity) and to restart it, or name a Secret with an access key"
)
SIGNATURE_CODES = frozenset(
    {"SignatureDoesNotMatch", "AuthorizationHeaderMalformed", "AuthorizationQueryParametersError", "InvalidRegion"}
)
"""Those of a signature that is of another region, or made with another secret."""
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


@dataclass(frozen=True, slots=True)
class S3Request:
    """What was asked: `subject` is the ref in messages, `host` the origin. `authenticated`: it was signed.

    `own_key`: with the access key of the pod itself, which no user can correct.
    """

    subject: str
    bucket: str
    host: str
    authenticated: bool
    own_key: bool = False


@dataclass(frozen=True, slots=True)
class S3Answer:
    """An answer that is no success. `code` is "" if the body told none, `region` the one that it names."""

    status: int
    headers: Mapping[str, str]
    code: str = ""
    region: str = ""


def s3_error(answer: S3Answer, asked: S3Request, now: float) -> ProvisionError:
    """`now` is in seconds since the epoch."""
    theirs = _time_of(answer.headers)
    # A signed address that is over gets the code AccessDenied, like a key without rights.
    if answer.status == 403 and asked.authenticated and theirs and abs(theirs.timestamp() - now) > _MOST_SKEW:
        return _skewed(answer, asked)
    explain = (_BY_CODE_OF_OWN_KEY if asked.own_key else _BY_CODE).get(answer.code) or _BY_CODE.get(answer.code)
    if explain:
        return explain(answer, asked)
    wait = retry_after(answer.headers, now)
    if answer.code in _LIMITS or answer.status in {429, 503}:
        return RateLimited(f"{asked.host} limits how often it is asked ({answer.status})", wait)
    if answer.status == 301 or (answer.status == 400 and told_region(answer)):
        return _elsewhere(answer, asked)
    if answer.status == 403:
        return _denied(answer, asked)
    request = HubRequest(asked.subject, asked.host, asked.authenticated)
    return http_error(answer.status, answer.headers, request, now)


def range_error(status: int, headers: Mapping[str, str], request: HubRequest, now: float) -> ProvisionError:
    """The error for a range of an object whose address was signed just before."""
    if status == 403:
        return AccessDenied(
            f"{request.page} refuses {request.subject} (403), also at a new address: the access key may have lost the "
            "right to read it, its session may be over, or the object may be archived",
            wants_token=True,
        )
    if status == 404:
        return SourceNotFound(f"{request.subject} is not there any more (404): upload it again, or name another key")
    return http_error(status, headers, request, now)


def may_pass(answer: S3Answer) -> bool:
    """Whether the same request may succeed later, or with a new session. 501 means that the server lacks an operation.

    A code tells more than its status: RequestTimeout and ExpiredToken come with 400.
    """
    passing = answer.status in _PASSING or (answer.status >= 500 and answer.status != 501)
    return passing or answer.code in _LIMITS | _PASSING_CODES


def told_region(answer: S3Answer) -> str | None:
    """The region that the server says the bucket is in."""
    return checked_region(answer.headers.get("x-amz-bucket-region", "") or answer.region)


def _time_of(headers: Mapping[str, str]) -> datetime | None:
    """The answer's own time; None if it has none that can be read."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - few requests are refused

    try:
        return parsedate_to_datetime(headers.get("Date", "")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _denied(_: S3Answer, asked: S3Request) -> ProvisionError:
    if not asked.authenticated:
        return AccessDenied(
            f"{asked.host} refuses {asked.subject} without an access key: give one in a Secret, under {_KEYS}",
            wants_token=True,
        )
    if asked.own_key:
        return AccessDenied(
            f"{asked.host} refuses {asked.subject} to the pod's own access key: ask the administrator to allow its "
            "role s3:GetObject, and s3:ListBucket for the bucket, or name a Secret with an access key"
        )
    return AccessDenied(
        f"{asked.host} refuses {asked.subject} to this access key: allow it s3:GetObject, and s3:ListBucket for the "
        "bucket, without which a key that is missing looks like this too",
        wants_token=True,
    )


def _skewed(answer: S3Answer, asked: S3Request) -> ProvisionError:
    date = _time_of(answer.headers)
    theirs = f" ({date:%Y-%m-%d %H:%M:%S} UTC there)" if date else ""
    return SourceUnavailable(
        f"{asked.host} refuses signatures because its clock and that of this machine differ by more than 15 "
        f"minutes{theirs}: set the clock (NTP)"
    )


def _elsewhere(answer: S3Answer, asked: S3Request) -> ProvisionError:
    region = told_region(answer)
    where = f"the region {region}" if region else "another region"
    at = f", such as https://s3.{region}.amazonaws.com" if region and "amazonaws" in asked.host else ""
    return SourceNotFound(
        f"the bucket {asked.bucket} is in {where}, for which {asked.host} does not answer: set `endpoint` to that of "
        f"the region{at}, or leave it out"
    )


def _archived(_: S3Answer, asked: S3Request) -> ProvisionError:
    return archived(asked.subject)


def archived(subject: str) -> ProvisionError:
    return UnsupportedSource(
        f"{subject} is archived, and can't be read before it is restored: restore it in its bucket"
    )


_Explain = Callable[[S3Answer, S3Request], ProvisionError]


def _told(error: Callable[[str], ProvisionError], text: str) -> _Explain:
    """Explains by `text`, in which {subject}, {bucket} and {host} are those of the request."""

    def explain(_: S3Answer, asked: S3Request) -> ProvisionError:
        return error(text.format(subject=asked.subject, bucket=asked.bucket, host=asked.host))

    return explain


_wrong_keys = partial(AccessDenied, wants_token=True)
_no_key = _told(
    SourceNotFound,
    "{subject} is not there: check the key, in which capital letters matter, and look for it in the bucket",
)
_unknown_key = _told(
    _wrong_keys,
    "{host} does not know the access key: correct AWS_ACCESS_KEY_ID, and AWS_SESSION_TOKEN if the key is a temporary "
    "one",
)
_session_over = _told(
    _wrong_keys,
    "{host} says that the session of the access key is over: put a new key with its AWS_SESSION_TOKEN into the Secret",
)
_virtual_style_wanted = _told(
    UnsupportedSource,
    "{host} wants the bucket in the name of the host, which is done at the own hosts of Amazon S3, Alibaba OSS and "
    "Tencent COS only: set `endpoint` to one of these, or name the file as https://{bucket}.HOST/KEY",
)
_BY_CODE: Mapping[str, _Explain] = {
    "NoSuchKey": _no_key,
    "NoSuchVersion": _no_key,
    "MethodNotAllowed": _told(
        SourceNotFound, "{subject} was deleted in its bucket: upload it again, or name another key"
    ),
    "InvalidArgument": _told(
        UnsupportedSource,
        "{host} does not accept how {subject} is asked for: check the key, and whether {host} has the API of S3",
    ),
    "NoSuchBucket": _told(
        SourceNotFound, "{host} has no bucket {bucket}: check its name, and the endpoint if it is not Amazon's"
    ),
    "AccessDenied": _denied,
    "AllAccessDisabled": _denied,
    "AccountProblem": _denied,
    "InvalidAccessKeyId": _unknown_key,
    "XAdminUserNotFound": _unknown_key,
    "SignatureDoesNotMatch": _told(
        _wrong_keys, "{host} does not accept the signature: AWS_SECRET_ACCESS_KEY is not that of AWS_ACCESS_KEY_ID"
    ),
    "ExpiredToken": _session_over,
    "TokenRefreshRequired": _session_over,
    "InvalidToken": _told(
        _wrong_keys, "{host} does not accept AWS_SESSION_TOKEN: it belongs to another access key, or to none"
    ),
    "RequestTimeTooSkewed": _skewed,
    "ExpiredRequest": _told(
        SourceUnavailable, "{host} says that the signed address of {subject} is over: check the clocks"
    ),
    "PermanentRedirect": _elsewhere,
    "TemporaryRedirect": _elsewhere,
    "IllegalLocationConstraintException": _elsewhere,
    "IncorrectEndpoint": _elsewhere,
    "InvalidObjectState": _archived,
    "SecondLevelDomainForbidden": _virtual_style_wanted,
    "PathStyleDomainForbidden": _virtual_style_wanted,
}
_own_session_over = _told(
    SourceUnavailable, "{host} does not accept the session of the pod's own access key: another one is asked for"
)
_BY_CODE_OF_OWN_KEY: Mapping[str, _Explain] = dict.fromkeys(
    ("ExpiredToken", "TokenRefreshRequired", "InvalidToken", "InvalidAccessKeyId"), _own_session_over
)
_LIMITS = frozenset({"SlowDown", "RequestLimitExceeded", "TooManyRequests", "BandwidthLimitExceeded"})
_PASSING = frozenset({408, 409, 425, 429})
_PASSING_CODES = frozenset(
    {"RequestTimeout", "InternalError", "ServiceUnavailable", "ExpiredToken", "TokenRefreshRequired", "ExpiredRequest"}
) | {"InvalidToken", "InvalidAccessKeyId", "RequestTimeTooSkewed"}
