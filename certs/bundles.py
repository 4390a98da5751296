"""Bundles of roots for clients that also talk to the rest of the world, in the two forms that there are."""

import ssl
import warnings
from collections.abc import Iterable
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from cryptography.utils import CryptographyDeprecationWarning

SYSTEM_FILES = (  # where systems keep their roots, as Go's crypto/x509 looks for them
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)
PASSWORD = "changeit"  # noqa: S105  Java's customary one: the file holds certificates only


def system_roots() -> bytes:
    """The roots that this system trusts, as PEM; Mozilla's (certifi) where it keeps none in a file."""
    for path in (*SYSTEM_FILES, ssl.get_default_verify_paths().cafile, certifi.where()):
        if path and (found := read_pem(Path(path))):
            return found
    raise ValueError("this system has no file of trusted roots: install its ca-certificates package")


def read_pem(path: Path) -> bytes:
    """The certificates of a PEM file, or nothing where it is missing or holds none."""
    try:
        content = path.read_bytes()
    except OSError:
        return b""
    return content.rstrip() + b"\n" if b"-----BEGIN CERTIFICATE-----" in content else b""


def joined(*pems: bytes) -> bytes:
    """Several PEM bundles as one, in which each certificate stands once."""
    end = b"-----END CERTIFICATE-----"
    each = dict.fromkeys(part.strip() for pem in pems for part in pem.split(end)[:-1])
    return b"".join(part + b"\n" + end + b"\n" for part in each)


def java_trust_store(pem: bytes) -> bytes:
    """The certificates of a PEM bundle as a PKCS #12 trust store for Java, under `PASSWORD`; doubles once."""
    certificates = dict.fromkeys(_each(pem))
    entries = [pkcs12.PKCS12Certificate(found, b"%d" % index) for index, found in enumerate(certificates)]
    return pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(PASSWORD.encode()))


def _each(pem: bytes) -> Iterable[x509.Certificate]:
    """One certificate at a time: a system's file may hold one that is too old to be read, and that is its business."""
    end = b"-----END CERTIFICATE-----"
    for part in pem.split(end)[:-1]:
        try:
            with warnings.catch_warnings(action="ignore", category=CryptographyDeprecationWarning):
                found = x509.load_pem_x509_certificate(part[part.rindex(b"-----BEGIN") :] + end)
        except ValueError:
            continue
        yield found
