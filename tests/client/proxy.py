"""A CONNECT proxy that reads TLS with an authority's leaves and answers every request with what it saw, as JSON."""

import contextlib
import json
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from mitmproxy.certs import CertStore

from certs.authority import Authority


class Proxy:
    """Runs in threads until `close`. `seen` holds (CONNECT target, request line) pairs; `forbidden` hosts get a 403."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.seen: list[tuple[str, str]] = []
        self.forbidden: set[str] = set()
        self.store = CertStore.from_store(authority.directory, "mitmproxy", 2048)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            target = head(connection).split(" ")[1]
            host = target.rpartition(":")[0]
            if host in self.forbidden:
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 11\r\n\r\nnot served.")
                connection.close()
                return
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with self._context(host).wrap_socket(connection, server_side=True) as tls:
                while line := head(tls):
                    self.seen.append((target, line.split("\r\n")[0]))
                    body = json.dumps({"connect": target, "line": line.split("\r\n")[0]}).encode()
                    tls.sendall(
                        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
                        + body
                    )
        except OSError:
            connection.close()

    def _context(self, host: str) -> ssl.SSLContext:
        entry = self.store.get_cert(host, [x509.DNSName(host)])
        chain = Path(self.authority.directory.parent, f"{host}-{threading.get_ident()}.pem")
        key: Any = entry.privatekey
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain.write_bytes(private + entry.cert.to_pem() + b"".join(found.to_pem() for found in entry.chain_certs))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context


def head(connection: socket.socket) -> str:
    """One request head; its body, where it has one, is read and dropped."""
    found = b""
    while not found.endswith(b"\r\n\r\n"):
        if not (byte := connection.recv(1)):
            return ""
        found += byte
    text = found.decode("latin-1")
    for line in text.split("\r\n"):
        if line.lower().startswith("content-length:"):
            left = int(line.split(":")[1])
            while left > 0 and (part := connection.recv(left)):
                left -= len(part)
    return text
