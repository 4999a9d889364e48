"""Decides which hub receives a person's token from the environment without being asked for.

`transfer.cli.tokens` calls this. In a cluster a token belongs to a Secret, which names its hosts: see
`controller.reconcile.credentials`. No request and no environment is read here.
"""

from ipaddress import ip_address

from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.refs.hugging_face import HUGGING_FACE

_MODELSCOPE = frozenset(
    Origin("https", host, 443) for host in ("modelscope.cn", "www.modelscope.cn", "modelscope.ai", "www.modelscope.ai")
)


def gets_token_unasked(endpoint: str, of_environment: str | None, *, direct: bool) -> bool:
    """Whether HF_TOKEN is sent to the hub at `endpoint` although no flag says so.

    It is made for the public hub, or for the hub that HF_ENDPOINT names (`of_environment`), which stands beside it in
    the environment. A flag is often copied from instructions. A token is never sent in
    clear text over a network, so the latter hub needs TLS, unless it is on this machine and the connection is `direct`:
    a proxy would look the name up elsewhere.
    """
    origin = Origin.of(endpoint)
    if origin == Origin.of(HUGGING_FACE):
        return True
    if of_environment is None or origin != Origin.of(of_environment):
        return False
    return origin.scheme == "https" or (direct and is_this_machine(origin.host))


def is_modelscope(endpoint: str) -> bool:
    """Whether MODELSCOPE_API_TOKEN is made for the hub at `endpoint`: the Chinese or the international one."""
    return Origin.of(endpoint) in _MODELSCOPE


def is_this_machine(host: str) -> bool:
    """`localhost` always is (RFC 6761, 6.3)."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
