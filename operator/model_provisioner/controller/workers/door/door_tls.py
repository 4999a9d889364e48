"""TLS of the door: what it shows, and whether a worker pod would accept it.

The certificate comes from `certificates` or from `given_secret`; `pod_service` serves the context. No I/O except a file
for OpenSSL.
"""

import contextlib
import ssl
import tempfile
from dataclasses import dataclass

_ROUNDS = 4  # TLS 1.3 needs two


@dataclass(frozen=True, slots=True)
class Identity:
    """All in PEM. `chain` and `key` are the door's; `authority` are the certificates that worker pods trust."""

    chain: bytes
    key: bytes
    authority: bytes

    def __repr__(self) -> str:
        return "Identity(...)"


def server_context() -> ssl.SSLContext:
    """A context for the door, without a certificate yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def load(context: ssl.SSLContext, identity: Identity) -> None:
    """Gives `context` the certificate of `identity`, for its next connections.

    Raises ssl.SSLError if it has none that its key fits, OSError if no file can be written.
    """
    with tempfile.NamedTemporaryFile() as file:  # OpenSSL's interface in Python takes no bytes; the mode is 0600
        file.write(identity.chain + b"\n" + identity.key)
        file.flush()
        context.load_cert_chain(file.name, password="")  # else OpenSSL would ask on a terminal


def rehearse(identity: Identity, server_name: str) -> None:
    """A handshake in memory, with the checks of a worker pod (`worker_pod.connection`) and the system's time.

    Raises ssl.SSLError or ValueError, in the words of OpenSSL, if a pod that trusts the authority would not connect.
    """
    context = server_context()
    load(context, identity)
    text = identity.authority.decode("ascii")
    if not text.strip():  # a context without any would trust those of the system
        raise ValueError("there is no authority")
    trust = ssl.create_default_context(cadata=text)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    pod = trust.wrap_bio(back, there, server_hostname=server_name)
    door = context.wrap_bio(there, back, server_side=True)
    for _ in range(_ROUNDS):
        for side in (pod, door):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
