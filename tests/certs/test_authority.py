"""The authority: real clients accept it for AWS and for nothing else, and a bad one on disk is refused with a cure."""

import concurrent.futures
import ipaddress
import json
import logging
import shutil
import socket
import ssl
import stat
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mitmproxy.certs import CertStore

from certs import authority, bundles
from certs.authority import Authority

SUFFIXES = ["amazonaws.com", "amazonaws.com.cn", "api.aws", "amazonaws.eu"]
AWS = [
    "sts.us-east-1.amazonaws.com",
    "bucket.s3.eu-west-1.amazonaws.com",
    "s3.cn-north-1.amazonaws.com.cn",
    "sqs.api.aws",
]
OTHERS = ["example.com", "evilamazonaws.com", "amazonaws.com.example.com", "10.0.0.1", "::1"]


@pytest.fixture
def made(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "ca", SUFFIXES)


@contextmanager
def server(found: Authority, host: str) -> Iterator[int]:
    """A TLS server with the leaf that mitmproxy's own store makes for `host`; answers any request with `ok`."""
    store = CertStore.from_store(found.directory, "mitmproxy", 2048)
    name: x509.GeneralName
    try:
        name = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        name = x509.DNSName(host)
    entry = store.get_cert(host, [name])
    chain = found.directory.parent / "leaf.pem"
    key = entry.privatekey.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert entry.chain_file
    chain.write_bytes(key + entry.cert.to_pem() + b"".join(cert.to_pem() for cert in entry.chain_certs))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(65536)
                    tls.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
            except OSError:
                connection.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def python(found: Authority, host: str, port: int) -> bool:
    context = ssl.create_default_context(cafile=str(found.root))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            tls.sendall(b"GET / HTTP/1.1\r\n\r\n")
            return tls.recv(100).startswith(b"HTTP/1.1 200")
    except ssl.SSLCertVerificationError:
        return False


def curl(found: Authority, host: str, port: int) -> bool:
    written = f"[{host}]" if ":" in host else host
    ran = subprocess.run(
        [
            "curl",
            "-s",
            "--noproxy",
            "*",
            "--cacert",
            found.root,
            "--connect-to",
            f"::127.0.0.1:{port}",
            f"https://{written}/",
        ],
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert ran.returncode in (0, 60), ran  # 60: the peer's certificate is not trusted
    return ran.stdout == b"ok"


def node(found: Authority, host: str, port: int) -> bool:
    """Connects by TLS with the host checked as Node checks it; SNI is for names only."""
    program = """
      const tls = require("tls"), [, host, port] = process.argv, ip = require("net").isIP(host);
      const socket = tls.connect({host: "127.0.0.1", port, ...(ip ? {} : {servername: host}),
        checkServerIdentity: (_, cert) => tls.checkServerIdentity(host, cert)});
      socket.on("secureConnect", () => { console.log("ok"); socket.destroy(); });
      socket.on("error", e => { console.log(e.message); });"""
    ran = subprocess.run(
        ["node", "-e", program, host, str(port)],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
        env={"NODE_EXTRA_CA_CERTS": str(found.root), "PATH": "/usr/local/bin:/usr/bin:/bin"},
    )
    assert ran.stdout.strip() in ("ok", "permitted subtree violation", "excluded subtree violation"), ran
    return ran.stdout.strip() == "ok"


CLIENTS = [
    python,
    pytest.param(curl, marks=pytest.mark.skipif(not shutil.which("curl"), reason="NO CURL: its trust is untested")),
    pytest.param(node, marks=pytest.mark.skipif(not shutil.which("node"), reason="NO NODE: its trust is untested")),
]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("host", AWS[:2])
def test_clients_accept_an_aws_host(made: Authority, client: Callable[..., bool], host: str) -> None:
    with server(made, host) as port:
        assert client(made, host, port)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("host", ["example.com", "evilamazonaws.com", "10.0.0.1"])
def test_clients_refuse_every_other_name(made: Authority, client: Callable[..., bool], host: str) -> None:
    with server(made, host) as port:
        assert not client(made, host, port)


@pytest.mark.parametrize("host", [*AWS, *OTHERS])
def test_python_draws_the_line_at_the_suffixes(made: Authority, host: str) -> None:
    with server(made, host) as port:
        assert python(made, host, port) == (host in AWS)


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("java"), reason="NO JAVA: its trust is untested")
@pytest.mark.parametrize(("host", "accepted"), [(AWS[0], True), ("example.com", False)])
def test_java_with_the_trust_store_accepts_aws_and_refuses_others(made: Authority, host: str, accepted: bool) -> None:
    store = made.directory.parent / "trust.p12"
    store.write_bytes(bundles.java_trust_store(made.bundle.read_bytes()))
    program = made.directory.parent / "Try.java"
    program.write_text("""
      import javax.net.ssl.*; import java.util.List;
      public class Try { public static void main(String[] a) throws Exception {
        SSLSocket s = (SSLSocket) SSLSocketFactory.getDefault().createSocket("127.0.0.1", Integer.parseInt(a[1]));
        SSLParameters p = s.getSSLParameters(); p.setServerNames(List.of(new SNIHostName(a[0])));
        p.setEndpointIdentificationAlgorithm(null); s.setSSLParameters(p);
        try { s.startHandshake(); System.out.println("ok"); }
        catch (SSLHandshakeException e) { System.out.println("refused"); }
      }}""")
    options = [f"-Djavax.net.ssl.trustStore={store}", f"-Djavax.net.ssl.trustStorePassword={bundles.PASSWORD}"]
    with server(made, host) as port:
        ran = subprocess.run(
            ["java", *options, str(program), host, str(port)], capture_output=True, text=True, check=False, timeout=60
        )
    if "ClassNotFound" in ran.stderr or "jdk.compiler" in ran.stderr:
        pytest.skip("NO JAVA COMPILER: its trust is untested")
    assert ran.stdout.strip() == ("ok" if accepted else "refused"), ran.stderr


def test_the_roots_key_is_nowhere_and_the_intermediates_is_private(made: Authority) -> None:
    (root,) = x509.load_pem_x509_certificates(made.root.read_bytes())
    for path in made.directory.iterdir():
        if b"PRIVATE KEY" in (content := path.read_bytes()):
            assert path.name == "mitmproxy-ca.pem"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            key = serialization.load_pem_private_key(content, None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            assert key.public_key() != root.public_key()
    assert stat.S_IMODE(made.directory.stat().st_mode) == 0o700


def test_the_intermediate_is_what_rfc_5280_calls_constrained(made: Authority) -> None:
    intermediate, root = x509.load_pem_x509_certificates((made.directory / "mitmproxy-ca.pem").read_bytes())
    for certificate, length in ((root, 1), (intermediate, 0)):
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, length)
        assert certificate.not_valid_before_utc < datetime.now(UTC) - timedelta(days=1)
    constraints = intermediate.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert {name.value for name in constraints.value.permitted_subtrees or ()} == set(SUFFIXES)
    assert {str(name.value) for name in constraints.value.excluded_subtrees or ()} == {"0.0.0.0/0", "::/0"}


def test_opening_again_finds_the_same_authority(made: Authority) -> None:
    before = {path: path.read_bytes() for path in made.directory.iterdir()}
    assert Authority.open(made.directory, SUFFIXES) == made
    assert {path: path.read_bytes() for path in made.directory.iterdir()} == before


def test_two_gateways_that_start_together_make_one_authority(tmp_path: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: Authority.open(tmp_path / "ca", SUFFIXES), range(8)))
    key, root = (tmp_path / "ca" / "mitmproxy-ca.pem").read_bytes(), (tmp_path / "ca" / "root.pem").read_bytes()
    assert len(x509.load_pem_x509_certificates(root)) == 1
    assert root in key


def test_the_bundle_holds_the_systems_roots_and_ours(made: Authority) -> None:
    with warnings.catch_warnings(action="ignore"):
        found = x509.load_pem_x509_certificates(made.bundle.read_bytes())
    (ours,) = x509.load_pem_x509_certificates(made.root.read_bytes())
    assert ours in found
    assert len(found) > 50


def test_show_says_what_openssl_says(made: Authority) -> None:
    shown = authority.show(made.directory)
    if not shutil.which("openssl"):
        pytest.skip("NO OPENSSL to compare with")
    ran = subprocess.run(
        ["openssl", "x509", "-in", made.root, "-noout", "-fingerprint", "-sha256", "-subject", "-nameopt", "RFC2253"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"={shown.sha256}" in ran.stdout
    assert f"subject={shown.subject}" in ran.stdout
    assert set(shown.permitted) == set(SUFFIXES)


def test_after_renew_clients_with_the_new_file_accept_the_old_and_the_new_gateway(
    made: Authority, tmp_path: Path
) -> None:
    shutil.copytree(made.directory, tmp_path / "still-running")
    old = Authority.open(tmp_path / "still-running", SUFFIXES)
    new = authority.renew(made.directory, [*SUFFIXES, "cloud.adc-e.uk"])
    assert authority.show(new.directory).sha256 != authority.show(old.directory).sha256
    assert "cloud.adc-e.uk" in authority.show(new.directory).permitted
    with server(new, AWS[0]) as port:
        assert python(new, AWS[0], port)
        assert not python(old, AWS[0], port)
    with server(old, AWS[0]) as port:
        assert python(new, AWS[0], port)


def test_renew_can_forget_the_old_root(made: Authority, tmp_path: Path) -> None:
    shutil.copytree(made.directory, tmp_path / "stolen")
    new = authority.renew(made.directory, SUFFIXES, keep_older=False)
    with server(Authority.open(tmp_path / "stolen", SUFFIXES), AWS[0]) as port:
        assert not python(new, AWS[0], port)


def test_an_authority_without_a_new_suffix_is_used_and_says_so(
    made: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    before = made.root.read_bytes()
    with caplog.at_level(logging.WARNING):
        again = Authority.open(made.directory, [*SUFFIXES, "cloud.adc-e.uk"])
    assert again.missing == ("cloud.adc-e.uk",)
    assert made.root.read_bytes() == before
    assert "sluicegate ca renew" in caplog.text


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_may_read_is_refused_with_a_cure(made: Authority, mode: int) -> None:
    (made.directory / "mitmproxy-ca.pem").chmod(mode)
    with pytest.raises(ValueError, match="chmod 600"):
        Authority.open(made.directory, SUFFIXES)


def test_a_directory_in_which_others_may_replace_the_key_is_refused(made: Authority) -> None:
    made.directory.chmod(0o777)
    with pytest.raises(ValueError, match="chmod 700"):
        Authority.open(made.directory, SUFFIXES)


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    key, _, certificates = content.partition(b"-----END PRIVATE KEY-----\n")
    parts = [part + b"-----END CERTIFICATE-----\n" for part in certificates.split(b"-----END CERTIFICATE-----\n")[:2]]
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    whole = key + b"-----END PRIVATE KEY-----\n"
    path.write_bytes(
        {
            "empty": b"",
            "cut": content[: len(content) // 2],
            "noise": b"\xff" * 500,
            "another key": other + parts[0] + parts[1],
            "no root": whole + parts[0],
            "no constraints": whole + parts[1] + parts[1],
            "no key": parts[0] + parts[1],
        }[kind]
    )


@pytest.mark.parametrize("kind", ["empty", "cut", "noise", "another key", "no root", "no constraints", "no key"])
def test_a_damaged_authority_is_refused_with_a_cure_that_works(made: Authority, kind: str) -> None:
    secret = (made.directory / "mitmproxy-ca.pem").read_text().splitlines()[1]
    damage(made.directory / "mitmproxy-ca.pem", kind)
    with pytest.raises(ValueError, match="sluicegate ca renew") as caught:
        Authority.open(made.directory, SUFFIXES)
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None
    assert Authority.open(authority.renew(made.directory, SUFFIXES).directory, SUFFIXES)


def test_an_ended_authority_is_refused_and_an_ending_one_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(authority, "LIFETIME", timedelta(days=5))
    with caplog.at_level(logging.WARNING):
        Authority.open(tmp_path / "ending", SUFFIXES)
    assert "sluicegate ca renew" in caplog.text
    monkeypatch.setattr(authority, "LIFETIME", timedelta(seconds=-1))
    with pytest.raises(ValueError, match="sluicegate ca renew"):
        Authority.open(tmp_path / "ended", SUFFIXES)


def test_a_lost_root_file_is_written_again(made: Authority) -> None:
    before = made.root.read_bytes()
    made.root.unlink()
    made.bundle.unlink()
    Authority.open(made.directory, SUFFIXES)
    assert made.root.read_bytes() == before
    assert made.bundle.exists()


def test_nothing_of_the_authority_says_more_than_it_should(made: Authority) -> None:
    assert "PRIVATE" not in repr(made)
    assert json.dumps(str(authority.show(made.directory))).find("PRIVATE") == -1
