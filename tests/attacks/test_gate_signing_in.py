"""Tokens by the hundred, good and bad, while their issuer does not answer: nobody else waits."""

import asyncio
import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
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


async def test_sign_ins_that_wait_for_an_issuer_keep_nobody_else_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def wait(*_: object, **__: object) -> Any:
        release.wait(20)
        raise Refused("IDPCommunicationError", "the issuer does not answer.")

    monkeypatch.setattr(exchange, "answer", wait)
    config = SimpleNamespace(identity=SimpleNamespace(session=SimpleNamespace(duration=3600)))
    rules = SimpleNamespace(gateway=SimpleNamespace(config=config), roles=lambda groups: set())
    services = SimpleNamespace(rules=rules, ledger=Ledger(), account="111122223333", verifier=None, ring=None)
    step, headers = Authenticate(cast(Any, services)), {"content-type": "application/x-www-form-urlencoded"}
    flows = []
    for _ in range(100):
        flow = tflow.tflow()
        request = ask("sts.us-east-1.amazonaws.com", "POST", "/", BODY, headers)
        attach(flow, Call("192.0.2.7", request=request, private=True))
        flows.append(flow)
    waiting = [asyncio.ensure_future(step.request(flow)) for flow in flows]
    try:
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in waiting)
        started = time.monotonic()
        assert await asyncio.wait_for(asyncio.to_thread(lambda: True), 5)
        assert time.monotonic() - started < 1
    finally:
        release.set()
        await asyncio.gather(*waiting)
    assert all(flow.response and flow.response.status_code >= 400 for flow in flows)
    assert authenticate.SIGNING_IN < 100
