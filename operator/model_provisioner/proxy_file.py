"""Loads the proxy that a flag names: the flag holds the URL, or the path of a file with the URL.

The commands of `transfer` and `controller` call this.
"""

from pathlib import Path

from model_provisioner.domain.network.proxy import Proxy, parse_proxy


def load_proxy(text: str) -> Proxy:
    """Loads a proxy from `URL`, or from `@FILE`, a file whose only line is the URL.

    A URL with a user name must be in a file, because other users of the machine can see arguments. Raises ValueError
    with a message for users, which contains no credential.
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
