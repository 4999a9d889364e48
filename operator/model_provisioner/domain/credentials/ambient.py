"""Where a pod gets an access key of Amazon's that is its own, by the variables that EKS puts into its environment.

`transfer.cli.command` reads the variables and calls `provider_of`; `transfer.clients.buckets.pod_keys` asks the
provider. Which objects may use such a key is decided in `controller.reconcile.credentials`. A metadata service of a
node (IMDS) is never asked: its key belongs to the node, and so to every pod on it.
Source: docs.aws.amazon.com/sdkref, "Assume role credential provider" and "Container credential provider"; the names of
variables are those of all SDKs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from model_provisioner.domain.errors import AddressNotAllowed
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.buckets import amazon_host, checked_region

EVERY_BUCKET = "*"
"""Stands for all names in a list of buckets."""
_POD_IDENTITY = frozenset({ip_address("169.254.170.23"), ip_address("fd00:ec2::23")})
"""The addresses of the EKS Pod Identity Agent on each node."""
_SESSION_NAME = "model-provisioner"
_MOST_CHARACTERS = 2048
_NOT_SET = "is not set"


@dataclass(frozen=True, slots=True)
class WebIdentity:
    """A role that the token in `token_file` may assume (IRSA). `url` is that of the Security Token Service."""

    url: str
    role: str
    session_name: str
    token_file: str


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """An agent at `url`, on the node or in the pod, which the token in `token_file` is sent to (EKS Pod Identity)."""

    url: str
    token_file: str


Provider = WebIdentity | PodIdentity


def provider_of(environment: Mapping[str, str]) -> Provider | None:
    """The provider that the variables name; None if they name none. In the order of the SDKs: IRSA, then Pod Identity.

    Raises ValueError with a message that names the variable.
    """
    found = {name: value.strip() for name, value in environment.items() if name.startswith("AWS_") and value.strip()}
    for name, value in found.items():
        if name in _USED and (len(value) > _MOST_CHARACTERS or not value.isprintable()):
            raise ValueError(f"{name} has a line break, or more than {_MOST_CHARACTERS:,} characters")
    if "AWS_ROLE_ARN" in found or "AWS_WEB_IDENTITY_TOKEN_FILE" in found:
        role, token_file = _both(found, "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")
        name = found.get("AWS_ROLE_SESSION_NAME", _SESSION_NAME)
        return WebIdentity(_token_service(found), role, name, token_file)
    if "AWS_CONTAINER_CREDENTIALS_FULL_URI" in found:
        uri, token_file = _both(found, "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        return PodIdentity(_agent(uri), token_file)
    return None


_USED = frozenset(
    {
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_SESSION_NAME",
        "AWS_ENDPOINT_URL_STS",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    }
)


def _both(found: Mapping[str, str], first: str, second: str) -> tuple[str, str]:
    if missing := [name for name in (first, second) if name not in found]:
        raise ValueError(f"{missing[0]} {_NOT_SET}, and {first if missing[0] == second else second} is")
    return found[first], found[second]


def _token_service(found: Mapping[str, str]) -> str:
    """The URL of the Security Token Service: that of the region, because the global one may be far, or be switched off.

    `AWS_ENDPOINT_URL_STS` names another one, such as MinIO's.
    """
    named = found.get("AWS_ENDPOINT_URL_STS")
    if named is not None:
        return _checked_url("AWS_ENDPOINT_URL_STS", named)
    region = found.get("AWS_REGION") or found.get("AWS_DEFAULT_REGION")
    if region is None:
        raise ValueError(f"AWS_REGION {_NOT_SET}, and AWS_ROLE_ARN is")
    if checked_region(region) is None:
        raise ValueError("AWS_REGION is not the name of a region")
    return f"https://{amazon_host('sts', region)}/"


def _checked_url(name: str, url: str) -> str:
    """`url` with TLS: the token that is sent there is worth a role."""
    try:
        secure = Origin.of(url).scheme == "https"
    except AddressNotAllowed:
        secure = False
    if not secure or "@" in url:
        raise ValueError(f"{name} is not a URL such as https://sts.example.com")
    return url


def _agent(uri: str) -> str:
    """Like the SDKs: only an agent on the node or in the pod gets the token, because it is sent without TLS."""
    try:
        address: IPv4Address | IPv6Address | None = ip_address(Origin.of(uri).host)
    except (AddressNotAllowed, ValueError):
        address = None
    if address is None or "@" in uri or not (address in _POD_IDENTITY or address.is_loopback):
        raise ValueError(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI is not at 169.254.170.23, [fd00:ec2::23] or a loopback address"
        )
    return uri
