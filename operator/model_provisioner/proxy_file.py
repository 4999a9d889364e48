"""Reads the proxy that a flag names: the address itself, or the file that holds it."""

from pathlib import Path

from model_provisioner.domain.network.proxy import Proxy, parse_proxy


def load_proxy(text: str) -> Proxy:
    """`URL`, or `@FILE` whose one line is the URL, for one with a user name: arguments are seen by everybody on the
    machine. Raises ValueError with a message for people, without any credential.
    """
    if not text.startswith("@"):
        proxy = parse_proxy(text)
        if proxy.username is not None:
            raise ValueError("a proxy's password would be visible to others here: put its URL in a file, write @FILE")
        return proxy
    path = Path(text[1:])
    try:
        content = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ValueError(f"the proxy's address can't be read from {path}: {reason}") from None
    return parse_proxy(content)
