"""Signed URLs of the content host that expire, in the format of CloudFront's canned policies. Called by `resolve`."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote, urlencode

Verdict = Literal["valid", "expired", "forged"]


class Signer:
    """`seconds` is how long URLs that are signed from now on are valid; `signatures` has those of all so far.

    It uses the wall clock, because clients see `Expires`.
    """

    def __init__(self) -> None:
        self.seconds: float = 3600
        self._key = secrets.token_bytes(32)
        self._key_pair = 1
        self.signatures: list[str] = []

    def sign(self, origin: str, path: str) -> str:
        """The signed URL of `path` (decoded) on `origin`, about as long as a real one (1000 characters)."""
        expires = int(time.time() + self.seconds)
        statement = {"Resource": f"{origin}{path}", "Condition": {"DateLessThan": {"AWS:EpochTime": expires}}}
        policy = base64.b64encode(json.dumps({"Statement": [statement]}).encode(), altchars=b"-~").decode()
        key_pair = f"K{self._key_pair:013d}"
        query = {
            "response-content-disposition": f"inline; filename*=UTF-8''{quote(path.rpartition('/')[2])};",
            "Expires": str(expires),
            "Policy": policy,
            "Signature": self._signature(path, str(expires), policy, key_pair),
            "Key-Pair-Id": key_pair,
        }
        self.signatures = [*self.signatures, query["Signature"]]
        return f"{origin}{quote(path)}?{urlencode(query)}"

    def verify(self, path: str, query: Mapping[str, str]) -> Verdict:
        expires, policy, key_pair = (query.get(name, "") for name in ("Expires", "Policy", "Key-Pair-Id"))
        if not hmac.compare_digest(query.get("Signature", ""), self._signature(path, expires, policy, key_pair)):
            return "forged"
        current = key_pair == f"K{self._key_pair:013d}" and time.time() < int(expires)
        return "valid" if current else "expired"

    def expire_all(self) -> None:
        """Makes every URL that was signed so far expire now."""
        self._key_pair += 1

    def _signature(self, *parts: str) -> str:
        digest = hmac.digest(self._key, "\n".join(parts).encode(), hashlib.sha512)
        return base64.b64encode(digest * 4, altchars=b"-~").decode()
