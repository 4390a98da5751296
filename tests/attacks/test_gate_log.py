"""What the operator reads on the gateway's own terminal or in its log file: no agent fills it, or writes in it."""

import contextlib
import re
import socket
import ssl

from tests.fail_closed.conftest import DYNAMODB, Stand

ESCAPE = "\x1b]0;owned\x07"


def test_broken_connections_leave_no_lines_of_their_makers(stand: Stand) -> None:
    before = stand.gateway.log.stat().st_size
    connect = f"CONNECT {DYNAMODB}:443 HTTP/1.1\r\nHost: {DYNAMODB}:443\r\n\r\n".encode()
    for number in range(60):
        with socket.create_connection(stand.gateway.proxy_address, timeout=10) as connection:
            if number % 4 == 0:  # distrusts our certificate
                connection.sendall(connect)
                connection.recv(4096)
                with contextlib.suppress(ssl.SSLError, OSError):
                    ssl.create_default_context().wrap_socket(connection, server_hostname=DYNAMODB)
            elif number % 4 == 1:  # no TLS at all
                connection.sendall(connect + f"{ESCAPE} / HTTP/1.1\r\nHost: {ESCAPE}\r\n\r\n".encode())
                connection.recv(4096)
            elif number % 4 == 2:
                connection.sendall(f"GET http://{ESCAPE}/ HTTP/1.1\r\nHost: {ESCAPE}\r\n\r\n".encode())
                connection.recv(4096)
            else:
                connection.sendall(f"CONNECT {ESCAPE}:443 HTTP/1.1\r\n\r\n".encode())
                connection.recv(4096)
    written = stand.gateway.log.read_bytes()[before:]
    assert stand.call().status == 200
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", written)
    assert len(written) < 2_000, written.decode(errors="replace")
