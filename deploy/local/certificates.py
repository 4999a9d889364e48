"""Creates the keys and certificates of one control plane. No other control plane accepts them.

Called by `cluster`. As Kubernetes defines it, the common name is the user and the organisation is the group
(https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates).
"""

from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

ADMIN_GROUP = "system:masters"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Paths of PEM files. `ca` signed `server` and `admin`; `accounts_key` signs the tokens of service accounts."""

    ca: Path
    server: Path
    server_key: Path
    admin: Path
    admin_key: Path
    accounts_key: Path
    accounts_public_key: Path


def make(directory: Path) -> Certificates:
    """Writes all files to `directory`, which must exist and should be private to its owner."""
    names = ("ca.crt", "server.crt", "server.key", "admin.crt", "admin.key", "accounts.key", "accounts.pub")
    files = Certificates(*(directory / name for name in names))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(files.ca))
    _write(authority.issue_cert("127.0.0.1", "localhost"), files.server, files.server_key)
    # Without a host name trustme writes an empty critical extension, which Go's verifier refuses.
    administrator = authority.issue_cert("localhost", common_name="admin", organization_name=ADMIN_GROUP)
    _write(administrator, files.admin, files.admin_key)
    _write_account_keys(files)
    return files


def _write(issued: trustme.LeafCert, certificate: Path, key: Path) -> None:
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    issued.private_key_pem.write_to_path(str(key))


def _write_account_keys(files: Certificates) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    files.accounts_key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    files.accounts_public_key.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
