"""Refs of files on web servers: `https://<host>[:<port>]/<path>.gguf`, or http:// if the administrator allows the host.

A query or a user name is refused, because a ref is public: both belong into a Secret. Letters, digits and
`-._~` are not percent-encoded and hexadecimal digits are upper case (RFC 3986, 6.2.2), so a file has one spelling.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Self
from urllib.parse import unquote

from model_provisioner.domain.credentials.secret_keys import BASIC, HEADERS, QUERY, TOKEN, SecretKind
from model_provisioner.domain.errors import AddressNotAllowed, InvalidRef
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.refs.model_ref import ModelRef, check_no_login, shown
from model_provisioner.domain.refs.other_pages import meant_by

_X = "[0-9A-F]"
_TAIL = f"%[89AB]{_X}"
_CHARACTER = (
    r"[A-Za-z0-9._~!$&'()*+,;=@-]"
    rf"|%[2-7]{_X}|%(?:C[2-9A-F]|D{_X}){_TAIL}|%E0%[AB]{_X}{_TAIL}|%E[1-9A-CEF](?:{_TAIL}){{2}}|%ED%[89]{_X}{_TAIL}"
    rf"|%F0%[9AB]{_X}(?:{_TAIL}){{2}}|%F[1-3](?:{_TAIL}){{3}}|%F4%8{_X}(?:{_TAIL}){{2}}"
)
"""One character of a name: as it is, or UTF-8 in escapes (RFC 3629, 4)."""
_PATH = re.compile(rf"(?:/(?:{_CHARACTER})+)+", re.ASCII)
_FORBIDDEN = re.compile(r"%(?:2[DEF]|3[0-9A]|4[1-9A-F]|5[0-9ACF]|6[1-9A-F]|7[0-9AEF])|/[.]{1,2}(?:/|\Z)|[^/]{256}")
"""Escapes of what needs none, of '/', ':', '\\' and DEL; '.' and '..' as names; and names that are too long."""
_SERVER = re.compile(r"(https?)://([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::([1-9][0-9]{0,4}))?(?=/|\Z)")
_MAX_SERVER = 253
_MAX_URL = 1024


@dataclass(frozen=True, slots=True)
class HttpsRef(ModelRef):
    """A file on a web server. `origin` is the server, `path` begins with a slash and is percent-encoded."""

    origin: Origin
    path: str

    schemes = ("https", "http")
    root = "http"
    spelling = "https://<host>/<path>.gguf"
    secret_kinds: ClassVar[tuple[SecretKind, ...]] = (TOKEN, BASIC, HEADERS, QUERY)

    @classmethod
    def parse(cls, text: str) -> Self:
        url, query, _ = text.partition("?")
        if query or "#" in url:
            raise InvalidRef(
                f"{shown(url.partition('#')[0])} stands before a query or a fragment: a ref is public, so "
                "put the query into a Secret, under the key `query`"
            )
        check_no_login(text, BASIC.keys)
        return cls(_server(text), _path(text))

    @property
    def file(self) -> str:
        """The path without its escapes, relative to the host."""
        return unquote(self.path.removeprefix("/"))

    @property
    def words(self) -> str:
        return self.file.rpartition("/")[2]

    @property
    def endpoint(self) -> str:
        return str(self.origin)

    def directory(self, endpoint: str | None) -> str:  # noqa: ARG002 - it is asked at its own place
        """`http/<host>`; the port follows a plus sign, which no host has, unless it is that of https."""
        return f"{self.root}/{host_directory(self.origin)}"

    def __str__(self) -> str:
        return f"{self.origin}{self.path}"


def _server(text: str) -> Origin:
    match = _SERVER.match(text)
    try:
        origin = Origin.of(match[0]) if match and len(match[0]) <= _MAX_SERVER else None
    except AddressNotAllowed:
        origin = None
    if match is None or origin is None or str(origin) != match[0]:
        raise InvalidRef(
            f"{shown(text)} has no host in lower case after https://, with a port only if it is not the usual one: "
            f"write {HttpsRef.spelling}"
        )
    return origin


def _path(text: str) -> str:
    path = "".join(text.partition("//")[2].partition("/")[1:])
    if not path.lower().endswith(".gguf"):
        if meant := meant_by(text):
            raise InvalidRef(f"{shown(text)} is the address of a page: write {meant}")
        raise InvalidRef(f"{shown(text)} must be a file that ends in .gguf: write {HttpsRef.spelling}")
    if not _PATH.fullmatch(path) or _FORBIDDEN.search(path) or len(text) > _MAX_URL:
        raise InvalidRef(
            f"{shown(text)}: the path must be percent-encoded, such as /a%20b.gguf (UTF-8, capital hexadecimal digits, "
            "none for letters, digits, '-', '.', '_' and '~'), without empty, '.' or '..' parts, '/', ':' or '\\' in "
            "a name, or names of more than 255 characters"
        )
    return path


def host_directory(origin: Origin) -> str:
    """A name for a host and its port: `host` for port 443 with TLS, else `host+port`."""
    host = origin.host.replace(":", "_")
    return host if (origin.scheme, origin.port) == ("https", 443) else f"{host}+{origin.port}"
