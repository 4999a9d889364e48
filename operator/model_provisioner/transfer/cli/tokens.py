"""The tokens in a person's environment, and which endpoint gets one without a flag. Called by `command` and `fetch`.

Each belongs to one source: `domain.refs.hubs` decides whether its endpoint is the one that it is made for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.refs.hubs import gets_token_unasked, is_modelscope
from model_provisioner.domain.refs.hugging_face import HUGGING_FACE


@dataclass(frozen=True, slots=True)
class Token:
    """What `variable` has, None if it is not set. It is for the source at `endpoint`, which gets it if `permitted`.

    `homes` says which endpoints get it without a flag.
    """

    variable: str
    value: str | None = field(repr=False)
    endpoint: str
    permitted: bool
    homes: str

    @property
    def is_withheld(self) -> bool:
        return self.value is not None and not self.permitted

    @property
    def credentials(self) -> Credentials | None:
        """For the origin of the endpoint only."""
        if self.value is None or not self.permitted:
            return None
        return Credentials(self.value, (str(Origin.of(self.endpoint)),))

    @property
    def note(self) -> str:
        """What is said before a download without the token."""
        origin = Origin.of(self.endpoint)
        return f"{self.variable} is not sent to {origin}: only {self.homes}; --send-token sends it there"

    @property
    def advice(self) -> str:
        """What is said after a refusal that the token could have prevented."""
        if self.is_withheld:
            return f"{self.variable} was not sent to {Origin.of(self.endpoint)}: --send-token sends it there"
        return f"in the environment as {self.variable}"


def tokens_of(
    read: Callable[[str], str],
    endpoints: Mapping[str, str],
    hub_of_environment: str | None,
    *,
    send: bool,
    direct: bool,
) -> Mapping[str, Token]:
    """The tokens by the scheme of their source. `read` returns a variable of the environment, "" if it is not set.

    `hub_of_environment` is that of HF_ENDPOINT. `send` lets each endpoint have its token. `direct`: without a proxy.
    """
    hub, modelscope = endpoints["hf"], endpoints["modelscope"]
    to_hub = send or gets_token_unasked(hub, hub_of_environment, direct=direct)
    to_modelscope = send or is_modelscope(modelscope)
    return {
        "hf": Token(
            "HF_TOKEN",
            read("HF_TOKEN") or None,
            hub,
            to_hub,
            f"{HUGGING_FACE} gets it, and the hub of HF_ENDPOINT over TLS",
        ),
        "modelscope": Token(
            "MODELSCOPE_API_TOKEN",
            read("MODELSCOPE_API_TOKEN") or None,
            modelscope,
            to_modelscope,
            "modelscope.cn and modelscope.ai get it",
        ),
    }
