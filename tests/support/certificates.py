"""A certificate authority for one test server.

Called by the test hub and by other servers that speak TLS on loopback. Clients trust it through the CA file.
"""

import ssl
from collections.abc import Iterable
from pathlib import Path

import trustme


def server_files(names: Iterable[str], directory: Path) -> tuple[Path, Path, Path]:
    """The files of a fresh CA, of a certificate for `names`, and of its key, for servers that are other programs."""
    authority = trustme.CA()
    certificate = authority.issue_cert(*dict.fromkeys(names))
    ca_file, certificate_file, key_file = (directory / f"{name}.pem" for name in ("ca", "certificate", "key"))
    authority.cert_pem.write_to_path(str(ca_file))
    certificate_file.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(str(key_file))
    return ca_file, certificate_file, key_file


def server_context(names: Iterable[str], ca_file: Path) -> ssl.SSLContext:
    """A server-side TLS context for `names` (host names or addresses), signed by a fresh CA that is written to
    `ca_file`.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*dict.fromkeys(names)).configure_cert(context)
    return context


def server_certificate(name: str, ca_file: Path, certificate: Path) -> None:
    """Writes a key and a chain for `name` to `certificate`, and the fresh CA that has signed it to `ca_file`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(certificate))
