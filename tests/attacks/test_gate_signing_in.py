"""Tokens by the hundred, good and bad, while their issuer does not answer: nobody else waits."""

import asyncio
import threading
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from addons import authenticate
from addons.authenticate import Authenticate
from addons.call import Call, attach
from addons.identity import exchange
from addons.identity.refusal import Refused
from tests.wire.requests import ask

BODY = (
    b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=test&WebIdentityToken=a.b.c"
    b"&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fagents"
)


class Ledger:
    async def event(self, kind: str, **_: object) -> None: ...


def flow_of(token: str) -> http.HTTPFlow:
    """A sign-in with this token, as it is when the steps begin."""
    flow, headers = tflow.tflow(), {"content-type": "application/x-www-form-urlencoded"}
    request = ask("sts.us-east-1.amazonaws.com", "POST", "/", BODY.replace(b"a.b.c", token.encode()), headers)
    attach(flow, Call("192.0.2.7", request=request, private=True))
    return flow


async def test_sign_ins_that_wait_for_an_issuer_keep_nobody_else_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def answer(params: Mapping[str, Any], **_: object) -> Any:
        if params["WebIdentityToken"] == "stalls":
            release.wait(20)
        raise Refused("IDPCommunicationError", "the issuer does not answer.")

    monkeypatch.setattr(exchange, "answer", answer)
    config = SimpleNamespace(identity=SimpleNamespace(session=SimpleNamespace(duration=3600)))
    services = SimpleNamespace(
        rules=SimpleNamespace(gateway=SimpleNamespace(config=config), roles=lambda groups: set()),
        ledger=Ledger(),
        account_of_role=lambda role: "111122223333",
        verifier=SimpleNamespace(issuer_of=lambda token: f"https://{token}.example.com"),
        ring=None,
    )
    step, flows = Authenticate(cast(Any, services)), [flow_of("stalls") for _ in range(100)]
    waiting = [asyncio.ensure_future(step.aws_call(flow)) for flow in flows]
    try:
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in waiting)
        started = time.monotonic()
        assert await asyncio.wait_for(asyncio.to_thread(lambda: True), 5)
        await asyncio.wait_for(step.aws_call(flow_of("answers")), 5)
        assert time.monotonic() - started < 1
        assert not any(task.done() for task in waiting)
    finally:
        release.set()
        await asyncio.gather(*waiting)
    assert all(flow.response and flow.response.status_code >= 400 for flow in flows)
    assert authenticate.SIGNING_IN < 100
