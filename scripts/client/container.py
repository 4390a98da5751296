"""The container credentials endpoint, as ECS and EKS have one, on loopback: for SDKs that know no token file of ours.

https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html: the SDK gets the URL in
AWS_CONTAINER_CREDENTIALS_FULL_URI, and sends AWS_CONTAINER_AUTHORIZATION_TOKEN, or the content of ..._TOKEN_FILE, as
`Authorization`. Whoever has that word has the agent's synthetic credentials, and nothing more.
"""

import asyncio
import hmac
import ipaddress
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import tornado.httpserver
import tornado.netutil
import tornado.web

from scripts.client.device import SignInFailed
from scripts.client.signing_in import Credentials, Keeper

PATH = "/credentials"
HEAD, IDLE = 16 << 10, 10.0  # bytes, seconds


class Endpoint(tornado.web.RequestHandler):
    """`GET /credentials`."""

    def initialize(self, secret: str, credentials: Callable[[], "asyncio.Future[Credentials]"]) -> None:
        """What the application hands to each request."""
        self.secret, self.made = secret, credentials

    def prepare(self) -> None:
        """Who asks, and by which name: a page in a browser may know the port, not the word, nor forge the name."""
        given = self.request.headers.get("Authorization", "")
        if not is_loopback(self.request.host_name):
            self._fail(403, "AccessDenied", "this is no name of the endpoint")
        elif not hmac.compare_digest(given.encode(), self.secret.encode()):
            text = "send the content of AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE as Authorization"
            self._fail(401, "Unauthorized", text)

    async def get(self) -> None:
        """Credentials in the shape of ECS's."""
        try:
            found = await self.made()
        except SignInFailed as error:
            self._fail(503, "SignInFailed", f"sluicegate: {error}")
            return
        self.set_header("Cache-Control", "no-store")
        self.write(
            {
                "AccessKeyId": found.access_key,
                "SecretAccessKey": found.secret_key,
                "Token": found.token,
                "Expiration": found.expiration,
            }
        )

    def _fail(self, status: int, code: str, message: str) -> None:
        self.set_status(status)
        self.finish({"code": code, "message": message})

    def write_error(self, status_code: int, **kwargs: object) -> None:
        """No traceback and no page."""
        self.finish({"code": "Error", "message": f"HTTP {status_code}"})


async def serve(sockets: list[socket.socket], secret: str, keeper: Keeper) -> None:
    """Serve until cancelled."""
    # One at a time: whoever comes meanwhile gets what the first one got.
    thread = ThreadPoolExecutor(1, "sign-in")
    loop = asyncio.get_running_loop()

    def credentials() -> "asyncio.Future[Credentials]":
        return loop.run_in_executor(thread, keeper.credentials)

    app = tornado.web.Application(
        [(PATH, Endpoint, {"secret": secret, "credentials": credentials})], log_function=lambda handler: None
    )
    server = tornado.httpserver.HTTPServer(
        app, max_header_size=HEAD, max_body_size=HEAD, body_timeout=IDLE, idle_connection_timeout=IDLE
    )
    server.add_sockets(sockets)
    try:
        await asyncio.Event().wait()
    finally:
        server.stop()


def listening(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on an address. Raises OSError."""
    return tornado.netutil.bind_sockets(port, host)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
