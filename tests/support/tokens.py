"""Service account tokens with other times: a token of the API server, changed and signed again with its key.

Called by tests of expired tokens.
"""

import base64
import json
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_COORDINATE_BYTES = 32  # of P-256; a JWS has both halves of a signature side by side (RFC 7518, 3.4)
_LEEWAY_SECONDS = 60  # the API server accepts a token for so long after its expiry (go-jose's DefaultLeeway)


def expiring(token: str, key_file: Path, seconds: float) -> str:
    """The same token, accepted for `seconds` from now, or 10 s longer if the API server has cached it."""
    end = int(time.time() + seconds) - _LEEWAY_SECONDS
    return reissued(token, key_file, iat=end - 600, nbf=end - 600, exp=end)


def reissued(token: str, key_file: Path, **claims: Any) -> str:
    """The same token with other claims and a valid signature. `key_file` is the key of the issuer, in PEM."""
    header, payload, _ = token.split(".")
    changed = {**json.loads(_decoded(payload)), **claims}
    signed = f"{header}.{_encoded(json.dumps(changed).encode())}"
    key = load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    halves = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(SHA256())))
    return f"{signed}.{_encoded(b''.join(half.to_bytes(_COORDINATE_BYTES, 'big') for half in halves))}"


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")
