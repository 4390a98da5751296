"""An exception in any hook of any step while a body streams: nothing leaves before it, no answer of AWS's after it."""

import http.client
import ssl
from collections.abc import Iterator
from typing import Any, cast

import pytest

from addons.gateway import Gateway
from tests import agent
from tests.fail_closed.conftest import Stand, until, wrapper
from tests.fail_closed.launcher import hooks
from tests.fail_closed.test_hooks import Fault
from tests.fail_closed.test_streams import SIZE, outcome, raw, standing
from tests.sink import head, push

pytestmark = pytest.mark.long  # many gateways

ON_THE_WAY = ("requestheaders", "aws_call", "request", "responseheaders", "response")
STEPS = Gateway(cast("Any", None)).addons
CASES = [(type(step).__name__, hook) for step in STEPS for hook in ON_THE_WAY if hook in hooks(step)]

NO_CALL = {("Connect", "requestheaders", "before"), ("Record", "response", "before")}  # what failed makes its line


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    directory = tmp_path_factory.mktemp("gateway")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLUICEGATE_FAULT", str(directory / "fault.json"))
        patch.setattr("sys.executable", str(wrapper(directory)))
        with standing(directory) as made:
            yield made


def put(stand: Stand) -> int:
    """The status of an upload's answer; 0: none came."""
    made = raw(stand)
    with made.tunnel() as connection:
        connection.sendall(head(made, SIZE))
        push(connection, SIZE)
        try:
            return agent.read(connection, "PUT").status
        except (http.client.HTTPException, ConnectionError, ssl.SSLError):
            return 0


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("step", "hook"), CASES, ids=[f"{step}.{hook}" for step, hook in CASES])
def test_a_hook_that_raises_closes_the_gate_for_uploads(stand: Stand, step: str, hook: str, when: str) -> None:
    seen, calls, before = len(stand.upstream.seen), len(stand.gateway.calls()), stand.count()
    with Fault(stand, step, hook, "Exception", when) as fault:
        status = put(stand)
        until(lambda: fault.fired, f"{step}.{hook} runs for no upload")
    until(lambda: stand.count() > before, "a line in the ledger")
    assert status in (0, 500, 502)
    if (step, hook, when) in NO_CALL:
        return
    until(lambda: len(stand.gateway.calls()) > calls, "the call's line")
    if hook in ("requestheaders", "aws_call"):
        assert len(stand.upstream.seen) == seen
        assert outcome(stand)["outcome"] == "refused"
        assert status == 500
    else:
        assert outcome(stand)["outcome"] in ("answered", "unknown"), "it was sent, and the record says so"
    assert len(stand.gateway.calls()) == calls + 1
    assert put(stand) == 200
