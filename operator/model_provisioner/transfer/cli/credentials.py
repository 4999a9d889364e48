"""The credentials of a person's `fetch`: those in `--credentials-file`; without it, see `tokens`.

The file has the keys of a Secret, one KEY=VALUE a line, as `kubectl create secret generic --from-env-file` takes it.
The key `hosts` stands for the annotation of a Secret. Called by `fetch`; what a key means is decided in `secret_keys`.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from model_provisioner.domain.credentials.credentials import Credentials, origins_of_hosts
from model_provisioner.domain.credentials.secret_keys import UnusableSecret, read
from model_provisioner.domain.errors import SecretNotFound
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.refs.model_ref import ModelRef

_HOSTS = "hosts"
_MAX_BYTES = 1024 * 1024

Secret = Mapping[str, bytes]


def load(text: str) -> Secret:
    """The keys and values in the file at `text`. Raises ValueError with a message that shows none of them."""
    try:
        with Path(text).open("rb") as file:
            content = file.read(_MAX_BYTES)
    except OSError as error:
        raise ValueError(f"{text!r} can't be read: {error.strerror}") from None
    lines = [line.strip() for line in content.splitlines()]
    pairs = [line.partition(b"=") for line in lines if line and not line.startswith(b"#")]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError(f"{text!r} has a line that is not KEY=VALUE")
    return {key.decode(errors="replace").strip(): value.strip() for key, _, value in pairs}


def credentials_of(ref: ModelRef, secret: Secret, endpoint: str) -> Credentials:
    """The credentials in `secret` for the source of `ref`, for its `hosts`, else for `endpoint`, which is asked.

    Raises SecretNotFound.
    """
    try:
        found = read({key: value for key, value in secret.items() if key != _HOSTS}, ref.secret_kinds)
        named = origins_of_hosts(secret.get(_HOSTS, b"").decode(errors="replace"))
    except (UnusableSecret, ValueError) as error:
        raise SecretNotFound(f"the credentials file {error}") from None
    return replace(found, origins=named or found.origins or (str(Origin.of(endpoint)),))
