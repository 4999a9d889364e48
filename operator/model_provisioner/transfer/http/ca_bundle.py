"""The certificate authorities to trust: those of the system, as Python finds them, and those of the administrator.

Called by `client` once per process. libcurl receives one file with all of them: it parses one file once for all
connections, but other forms once for each connection, at about 2 MiB of memory each.
"""

import contextlib
import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

_REHASHED_NAME = re.compile(r"[0-9a-f]{8}\.\d+")  # the names in a directory of certificates: openssl-rehash(1)


@contextlib.contextmanager
def trusted_authorities(ca_file: Path | None) -> Iterator[str]:
    """The path of a PEM file, which exists within the block. `ca_file` is the PEM file of the administrator.

    Raises OSError or ssl.SSLError if `ca_file` can't be used.
    """
    bundle = _system_bundle()
    if ca_file is not None:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=ca_file)
        bundle += b"\n" + ca_file.read_bytes()
    with _anonymous_file(bundle) as path:
        yield path


def _system_bundle() -> bytes:
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return Path(paths.cafile).read_bytes()
    if not paths.capath:
        return b""
    certificates = {file.resolve() for file in Path(paths.capath).iterdir() if _REHASHED_NAME.fullmatch(file.name)}
    return b"\n".join(file.read_bytes() for file in sorted(certificates) if file.is_file())


@contextlib.contextmanager
def _anonymous_file(content: bytes) -> Iterator[str]:
    """In memory if the system supports it, because the file system of a container may be read-only."""
    if not hasattr(os, "memfd_create"):
        import tempfile  # noqa: PLC0415 - only here: it takes longer than the rest of this module

        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name
        return
    fd = os.memfd_create("authorities")
    try:
        os.write(fd, content)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
