"""The device authorization grant, by RFC 8628's own words, against a provider that answers as each test says."""

import json
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from scripts.client.device import GRANT, Client, Question, SignInFailed

pytestmark = pytest.mark.long  # many gateways

ID_TOKEN = "a-token-that-nobody-reads"


class Provider:
    """Discovery, and two endpoints: what `answers` holds comes in turn from the token endpoint."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.answers: list[tuple[int, Any]] = []
        self.device: tuple[int, Any] = (
            200,
            {
                "device_code": "code",
                "user_code": "WDJB-MJHT",
                "verification_uri": "https://idp.example.com/device",
                "expires_in": 600,
            },
        )
        self.metadata: dict[str, Any] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.reply(200, outer.metadata)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                outer.forms.append(dict(urllib.parse.parse_qsl(body, strict_parsing=True)))
                status, found = outer.device if self.path == "/device" else outer.answers.pop(0)
                self.reply(status, found)

            def reply(self, status: int, found: Any) -> None:
                body = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "/elsewhere")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.metadata = {
            "issuer": self.issuer,
            "device_authorization_endpoint": f"{self.issuer}/device",
            "token_endpoint": f"{self.issuer}/token",
        }
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def sign_in(self) -> tuple[Any, list[float], list[Question]]:
        """What came of it, how long it waited each time, and what the person was asked."""
        slept: list[float] = []
        asked: list[Question] = []
        return Client(self.issuer, "sluicegate", "openid").sign_in(asked.append, slept.append), slept, asked


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.server.shutdown()
    made.server.server_close()


def error(code: str) -> tuple[int, dict[str, str]]:
    return 400, {"error": code, "error_description": "why"}


GOOD = (200, {"id_token": ID_TOKEN, "access_token": "-", "refresh_token": "again"})


def test_it_asks_until_the_person_has_signed_in(provider: Provider) -> None:
    provider.answers = [error("authorization_pending"), error("authorization_pending"), GOOD]
    tokens, slept, (question,) = provider.sign_in()
    assert (tokens.id_token, tokens.refresh_token) == (ID_TOKEN, "again")
    assert question == Question("https://idp.example.com/device", "WDJB-MJHT", None)
    assert slept == [5, 5, 5]  # 3.2: "If no value is provided, clients MUST use 5 as the default."
    assert provider.forms[0] == {"client_id": "sluicegate", "scope": "openid"}  # 3.1
    assert provider.forms[1] == {"grant_type": GRANT, "device_code": "code", "client_id": "sluicegate"}  # 3.4


def test_it_slows_down_when_it_is_told_to(provider: Provider) -> None:
    """3.5: "the interval MUST be increased by 5 seconds for this and all subsequent requests"."""
    provider.device[1]["interval"] = 2
    provider.answers = [error("slow_down"), error("authorization_pending"), error("slow_down"), GOOD]
    assert provider.sign_in()[1] == [2, 7, 7, 12]


def test_it_backs_off_where_the_network_fails(provider: Provider) -> None:
    provider.answers = [(502, b"<html>"), (502, b"<html>"), GOOD]
    assert provider.sign_in()[1] == [5, 10, 20]


def test_it_gives_up_in_the_end(provider: Provider) -> None:
    provider.answers = [(502, b"<html>")] * 20
    with pytest.raises(SignInFailed, match="can't be asked"):
        provider.sign_in()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (error("access_denied"), "refused on the provider's page"),
        (error("expired_token"), "in time"),
        (error("invalid_client"), "invalid_client. why"),
        ((200, {"access_token": "-"}), "no id_token: is `openid` in --scope"),
        ((200, {"id_token": 7}), "no id_token"),
    ],
)
def test_an_error_ends_it(provider: Provider, answer: tuple[int, Any], said: str) -> None:
    provider.answers = [answer]
    with pytest.raises(SignInFailed, match=said) as caught:
        provider.sign_in()
    assert "code" not in str(caught.value).split()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"device_authorization_endpoint": None}, "does it offer the device authorization grant"),
        ({"token_endpoint": "http://idp.example.com/token"}, "no token_endpoint"),
        ({"issuer": "https://other.example.com"}, "written exactly"),
    ],
    ids=["no device grant", "an endpoint without TLS", "another issuer"],
)
def test_a_provider_that_cannot_do_it(provider: Provider, change: dict[str, Any], said: str) -> None:
    provider.metadata |= change
    with pytest.raises(SignInFailed, match=said):
        provider.sign_in()
    assert provider.forms == []


@pytest.mark.parametrize("uri", ["javascript:alert(1)", "file:///etc/passwd", ""])
def test_no_page_but_one_of_the_web_is_shown(provider: Provider, uri: str) -> None:
    provider.device[1]["verification_uri"] = uri
    with pytest.raises(SignInFailed):
        provider.sign_in()


def test_terminal_escapes_in_the_code_do_nothing(provider: Provider) -> None:
    provider.device[1]["user_code"] = "AB\x1b[2JCD"
    provider.answers = [GOOD]
    assert "\x1b" not in provider.sign_in()[2][0].user_code


def test_a_redirect_of_the_tokens_is_not_followed(provider: Provider) -> None:
    provider.answers = [(302, {}), GOOD]
    with pytest.raises(SignInFailed, match="HTTP 302"):
        provider.sign_in()


def test_a_refresh_keeps_the_old_token_where_no_new_one_comes(provider: Provider) -> None:
    provider.answers = [(200, {"id_token": ID_TOKEN})]
    assert Client(provider.issuer, "sluicegate", "openid").refresh("old").refresh_token == "old"
    assert provider.forms == [
        {"grant_type": "refresh_token", "refresh_token": "old", "client_id": "sluicegate", "scope": "openid"}
    ]
