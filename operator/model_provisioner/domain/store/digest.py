"""The SHA-256 digest of a file's content as a value that parses and prints. Every layer uses it."""

import re
from dataclasses import dataclass

_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Digest:
    """A SHA-256 as 64 lower-case hexadecimal digits. Printed like an OCI digest, `sha256:<hex>`."""

    hexadecimal: str

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Parses `sha256:<hex>` or the bare hex. Raises ValueError with a message for users."""
        match = _SHA256.fullmatch(text.strip())
        if not match:
            raise ValueError(f"{text[:80]!r} is not a digest: write sha256: and 64 hexadecimal digits")
        return cls(match[1].lower())

    def __str__(self) -> str:
        return f"sha256:{self.hexadecimal}"
