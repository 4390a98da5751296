"""An STS on loopback, and the gateway's own credentials before it."""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

from addons.identity.upstream import Upstream
from tests.identity.idp import Server

SECRET = "canary-secret-canary-secret-canary-secre"
XMLNS = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'


class Sts:
    """Answers AssumeRole and GetCallerIdentity; counts them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.keys: list[str] = []  # access keys that calls were signed with
        self.asked: list[dict[str, str]] = []  # the fields of the forms
        self.lifetime = 3600.0  # seconds, of the credentials that AssumeRole gives
        self.delay = 0.0
        self.error: tuple[int, str, str] | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                fields = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                action = fields["Action"][0]
                outer.calls.append(action)
                outer.asked.append({name: values[0] for name, values in fields.items()})
                outer.keys.append(self.headers["authorization"].split("Credential=")[1].split("/")[0])
                time.sleep(outer.delay)
                status, body = outer.answer(action, fields)
                self.send_response(status)
                self.send_header("content-type", "text/xml")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: Any) -> None: ...

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port: int = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()

    def answer(self, action: str, fields: dict[str, list[str]]) -> tuple[int, str]:
        if self.error:
            status, code, message = self.error
            return status, (
                f"<ErrorResponse {XMLNS}><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>"
                "</Error><RequestId>r</RequestId></ErrorResponse>"
            )
        if action == "GetCallerIdentity":
            result = "<Arn>arn:aws:iam::111122223333:user/g</Arn><UserId>U</UserId><Account>111122223333</Account>"
        else:
            end = (datetime.now(UTC) + timedelta(seconds=self.lifetime)).strftime("%Y-%m-%dT%H:%M:%SZ")
            number = self.calls.count("AssumeRole")
            result = (
                f"<Credentials><AccessKeyId>ASIAROLE{number:012}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>"
                f"<SessionToken>token-{number}</SessionToken><Expiration>{end}</Expiration></Credentials>"
                "<AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/g/s</Arn>"
                "<AssumedRoleId>AROA:s</AssumedRoleId></AssumedRoleUser>"
            )
        return 200, f"<{action}Response {XMLNS}><{action}Result>{result}</{action}Result></{action}Response>"


def upstream(profile: str | None = "role", endpoint: str | None = None, **changed: Any) -> Upstream:
    settings: dict[str, Any] = {"ca": None, "proxy": None, "connect_timeout": 2.0, "read_timeout": 2.0} | changed
    return Upstream(profile=profile, endpoint=endpoint, **settings)


async def gap(stop: asyncio.Event) -> float:
    """The longest time in which the event loop did nothing else."""
    longest, last = 0.0, time.perf_counter()
    while not stop.is_set():
        await asyncio.sleep(0.002)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest
