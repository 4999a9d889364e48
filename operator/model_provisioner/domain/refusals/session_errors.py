"""Maps an error of what gives a pod its own access key to an error of ours, with what an administrator can do about it.

`transfer.clients.buckets.pod_keys` calls it. No text of the server is shown, nor a code that is not known here.
Source: docs.aws.amazon.com/STS/latest/APIReference, AssumeRoleWithWebIdentity and "Common Errors".
"""

from collections.abc import Mapping

from model_provisioner.domain.errors import AccessDenied, ProvisionError, RateLimited, SourceUnavailable
from model_provisioner.domain.refusals.retry_after import retry_after

_ADVICE: Mapping[str, str] = {
    "AccessDenied": "the trust policy of the role AWS_ROLE_ARN must name the cluster's identity provider and the "
    "pod's service account",
    "InvalidIdentityToken": "register the cluster's identity provider in IAM, with sts.amazonaws.com as audience",
    "ExpiredTokenException": "the token of the pod is over: check what mounts it, and the clock of the node",
    "ValidationError": "AWS_ROLE_ARN or AWS_ROLE_SESSION_NAME is misspelt",
    "RegionDisabledException": "the Security Token Service is switched off in this region: switch it on in IAM",
}
_PASSING = frozenset({"IDPCommunicationError", "ServiceUnavailable", "InternalFailure"})
_LIMITS = frozenset({"Throttling", "ThrottlingException", "RequestLimitExceeded"})
_OTHERWISE = "check the role, or the association, of its service account"


def session_error(status: int, code: str, headers: Mapping[str, str], host: str, now: float) -> ProvisionError:
    """`code` is "" if the answer has none, `host` the origin that answered, `now` in seconds since the epoch."""
    wait = retry_after(headers, now)
    if status == 429 or code in _LIMITS:
        return RateLimited(f"{host} limits how often it is asked for the pod's own access key ({status})", wait)
    if status >= 500 or code in _PASSING:
        return SourceUnavailable(f"{host} answered {status} when asked for the pod's own access key", wait)
    told = f"{status}, {code}" if code in _ADVICE else str(status)
    return AccessDenied(
        f"{host} gives the pod no access key of its own ({told}): {_ADVICE.get(code, _OTHERWISE)}; "
        "or name a Secret with an access key"
    )
