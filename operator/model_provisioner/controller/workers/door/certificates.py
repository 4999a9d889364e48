"""The certificates of the door: an authority of the operator's own, and what it signs.

No I/O. `authority_secret` keeps the authority, `door_tls` shows what it signs. The library that makes keys is imported
here only, so that an operator without worker pods does not load it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from model_provisioner.controller.workers.door.door_tls import Identity
from model_provisioner.worker_protocol.channel import SERVER_NAME

_AUTHORITY_LIFE = timedelta(days=365)
_AUTHORITY_RENEWAL = timedelta(days=90)
"""An authority with less life than this is replaced. The longest life of a server's certificate is shorter."""
_SERVER_LIFE = timedelta(days=30)
_SKEW = timedelta(hours=1)  # between the clocks of two nodes


@dataclass(frozen=True, slots=True)
class Authority:
    """Both in PEM. `certificate` is what a worker pod trusts; `key` never leaves the release's namespace."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Authority(...)"


def new_authority(now: datetime) -> Authority:
    """A fresh authority with an elliptic curve key (P-256)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "model-provisioner workers")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def is_usable(authority: Authority, now: datetime) -> bool:
    """Whether `authority` may sign, its key fits, and it lives for longer than what it signs."""
    try:
        certificate, key = _read(authority)
    except ValueError:
        return False
    fits = certificate.public_key() == key.public_key() and _may_sign(certificate)
    return fits and certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc - _AUTHORITY_RENEWAL


def issue(authority: Authority, now: datetime) -> Identity:
    """A fresh certificate for `SERVER_NAME`, which lives for 30 days."""
    issuer, issuer_key = _read(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _SERVER_LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return Identity(certificate.public_bytes(serialization.Encoding.PEM), _pem(key), authority.certificate)


def _read(authority: Authority) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Raises ValueError."""
    certificate = x509.load_pem_x509_certificate(authority.certificate)
    key = serialization.load_pem_private_key(authority.key, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is of another kind")  # noqa: TRY004 -- as for any other content that is no key
    return certificate, key


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
