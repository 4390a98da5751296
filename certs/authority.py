"""The certificate authority that agents trust: a root whose key is thrown away, over one constrained intermediate.

Agents trust `root.pem`. The gateway signs with the intermediate, which by a critical NameConstraints extension
(RFC 5280, 4.2.1.10) can only speak for AWS's own names: whoever steals its key can impersonate AWS to these agents and
nobody else. The constraint sits on an intermediate because Java ignores constraints on a root, and the root's key is
never written because a root could make another intermediate without any.

The directory (0700) is mitmproxy's `confdir`: its certificate store reads `mitmproxy-ca.pem` and adds files of its own.
"""

import contextlib
import fcntl
import logging
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs import bundles

log = logging.getLogger(__name__)

KEY_FILE, ROOT_FILE, BUNDLE_FILE = "mitmproxy-ca.pem", "root.pem", "bundle.pem"  # the first is mitmproxy's name
LIFETIME = timedelta(days=730)
SOON = timedelta(days=30)  # before the end: time to say so
CLOCKS_DIFFER = timedelta(days=2)  # mitmproxy dates its leaves as far back


@dataclass(frozen=True, slots=True)
class Shown:
    """What a person wants to know of an authority. `sha256` is the root's fingerprint, as openssl prints it."""

    subject: str
    not_after: datetime
    sha256: str
    permitted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority on disk, read and found good."""

    directory: Path  # mitmproxy's confdir
    not_after: datetime
    missing: tuple[str, ...]  # suffixes that it was asked for and may not speak for: made before AWS had them

    @property
    def root(self) -> Path:
        """What AWS clients trust, alone: the root, and older ones that have not ended since the last `renew`."""
        return self.directory / ROOT_FILE

    @property
    def bundle(self) -> Path:
        """What clients of everything else trust: the system's roots and ours, as their traffic is tunnelled unread."""
        return self.directory / BUNDLE_FILE

    @classmethod
    def open(cls, directory: Path, suffixes: Sequence[str]) -> Self:
        """Read the authority in `directory`; make one for these DNS suffixes where there is none.

        An authority that lacks a suffix is used as it is, with a warning: a new one would end the trust of every
        client that holds the old root. Raises ValueError, saying how to mend it, when a file is damaged, readable by
        others or past its end.
        """
        with _locked(directory):
            if not (directory / KEY_FILE).exists():
                _make(directory, suffixes, older=())
            found = _read(directory)
            if found.root not in _older_roots(directory):
                _write(directory / ROOT_FILE, _pem(found.root), 0o644)
            _write_bundle(directory)
        missing = tuple(sorted(set(suffixes) - set(found.permitted)))
        if missing:
            log.warning(
                "sluicegate: the certificate authority in %s was made without %s: clients will refuse those hosts. "
                "Run `sluicegate ca renew` and give clients the new root.pem.",
                directory,
                ", ".join(missing),
            )
        if found.not_after - datetime.now(UTC) < SOON:
            log.warning(
                "sluicegate: the certificate authority in %s ends on %s: run `sluicegate ca renew` before.",
                directory,
                f"{found.not_after:%Y-%m-%d}",
            )
        return cls(directory, found.not_after, missing)


def show(directory: Path) -> Shown:
    """Describe the authority in `directory`. Raises ValueError where it is missing, damaged or past its end."""
    found = _read(directory)
    fingerprint = found.root.fingerprint(hashes.SHA256()).hex(":").upper()
    return Shown(found.root.subject.rfc4514_string(), found.not_after, fingerprint, found.permitted)


def renew(directory: Path, suffixes: Sequence[str], keep_older: bool = True) -> Authority:
    """Make a new authority, whatever is there now. A running gateway goes on with the old one until it is restarted.

    The old root stays in `root.pem` until it ends, so that clients can be given the new file before the gateway uses
    the new key. With `keep_older=False` only the new root is trusted: for a key that may have leaked.
    """
    with _locked(directory):
        _make(directory, suffixes, older=_older_roots(directory) if keep_older else ())
        _write_bundle(directory)
    return Authority.open(directory, suffixes)


# --- making


def _make(directory: Path, suffixes: Sequence[str], older: Sequence[x509.Certificate]) -> None:
    if not suffixes:
        raise ValueError("an authority without a permitted name would be of no use")
    label = secrets.token_hex(4)  # each root its own name, so that no client mixes up two of them
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name, name = _name(f"sluicegate root {label}"), _name(f"sluicegate {label}")
    root = _certificate(root_name, root_key, root_name, root_key, path_length=1).sign(root_key, hashes.SHA256())
    constraints = x509.NameConstraints(
        permitted_subtrees=[x509.DNSName(suffix) for suffix in sorted(set(suffixes))],
        excluded_subtrees=[x509.IPAddress(IPv4Network("0.0.0.0/0")), x509.IPAddress(IPv6Network("::/0"))],
    )
    intermediate = (
        _certificate(name, key, root_name, root_key, path_length=0)
        .add_extension(constraints, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # The key file last: where it is, everything is.
    _write(directory / ROOT_FILE, b"".join(map(_pem, (root, *older))), 0o644)
    _write(directory / KEY_FILE, private + _pem(intermediate) + _pem(root), 0o600)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    name: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    path_length: int,
) -> x509.CertificateBuilder:
    """A CA certificate with everything that OpenSSL's strict mode asks for (both key identifiers, keyUsage)."""
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(
            x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


# --- reading


@dataclass(frozen=True, slots=True)
class _Found:
    root: x509.Certificate
    permitted: tuple[str, ...]
    not_after: datetime


def _read(directory: Path) -> _Found:
    path = directory / KEY_FILE
    try:
        raw = path.read_bytes()
        mode, directory_mode = (stat.S_IMODE(file.stat().st_mode) for file in (path, directory))
    except FileNotFoundError:
        raise ValueError(f"there is no certificate authority in {directory}: start the gateway once") from None
    except OSError as error:
        raise ValueError(f"the certificate authority {path} can't be read: {error.strerror}") from None
    if mode & 0o077 or directory_mode & 0o022:
        raise ValueError(
            f"{path} holds the authority's key, and others may read or replace it. If nobody did: "
            f"`chmod 600 {path}; chmod 700 {directory}`. Else run `sluicegate ca renew --forget-old` as well"
        )
    mend = f"{path} is damaged. Run `sluicegate ca renew`, restart the gateway and give clients the new {ROOT_FILE}"
    try:
        key = serialization.load_pem_private_key(raw, None)
        intermediate, root = x509.load_pem_x509_certificates(raw)
        intermediate.verify_directly_issued_by(root)
        root.verify_directly_issued_by(root)
        constraints = intermediate.extensions.get_extension_for_class(x509.NameConstraints)
    # Never the library's own words: they could quote the file.
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        raise ValueError(mend) from None
    if key.public_key() != intermediate.public_key() or not constraints.critical:
        raise ValueError(mend)
    not_after = min(intermediate.not_valid_after_utc, root.not_valid_after_utc)
    if not_after <= datetime.now(UTC):
        raise ValueError(
            f"the certificate authority in {directory} ended on {not_after:%Y-%m-%d}. "
            f"Run `sluicegate ca renew`, restart the gateway and give clients the new {ROOT_FILE}"
        )
    names = tuple(n.value for n in constraints.value.permitted_subtrees or () if isinstance(n, x509.DNSName))
    return _Found(root, names, not_after)


def _older_roots(directory: Path) -> tuple[x509.Certificate, ...]:
    """The roots in `root.pem` that have not ended; none where the file is missing or damaged."""
    try:
        found = x509.load_pem_x509_certificates((directory / ROOT_FILE).read_bytes())
    except (OSError, ValueError):
        return ()
    return tuple(root for root in found if root.not_valid_after_utc > datetime.now(UTC))


# --- files


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One process at a time: two gateways that start together must not each make an authority."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write_bundle(directory: Path) -> None:
    whole = bundles.system_roots() + (directory / ROOT_FILE).read_bytes()
    path = directory / BUNDLE_FILE
    if not path.exists() or path.read_bytes() != whole:
        _write(path, whole, 0o644)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that nobody sees half of it, or sees it with a wider mode."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")  # 0600 from the first moment
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
