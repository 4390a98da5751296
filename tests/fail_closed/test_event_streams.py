"""Event streams from the client: the gateway serves none, says so in the protocol's own words, and sends nothing."""

import json
from collections.abc import Iterator

import pytest

from tests.fail_closed.conftest import Stand, standing
from tests.harness import POLICY
from tests.wire.framing import event, signed

HEAD = {
    "content-type": "application/vnd.amazon.eventstream",
    "x-amzn-Engine": "generative",
    "x-amzn-OutputFormat": "mp3",
    "x-amzn-VoiceId": "Joanna",
}
ALLOWED = POLICY.replace("- dynamodb:GetItem\n", "- dynamodb:GetItem\n    - polly:StartSpeechSynthesisStream\n")
TEXT = event("TextEvent", {"Text": "hello"})


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A gateway whose policy allows the call, so that it is not the policy that refuses."""
    with standing(tmp_path_factory.mktemp("gateway"), ALLOWED) as made:
        yield made


@pytest.mark.parametrize(
    ("body", "more"),
    [
        (signed(TEXT), {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-EVENTS"}),
        (signed(TEXT)[:-1], {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-EVENTS"}),
        (TEXT[:-1], {}),
        (event("NoSuchEvent", {}), {}),
        (TEXT, {"content-encoding": "gzip"}),
    ],
    ids=["signed", "signed and cut", "cut", "unknown event", "gzip"],
)
def test_it_is_refused(stand: Stand, body: bytes, more: dict[str, str]) -> None:
    made = stand.raw(host="polly.us-east-1.amazonaws.com", service="polly")
    with stand.nothing_passes():
        found = made.send(
            "POST", "/v1/synthesisStream", made.signed("POST", "/v1/synthesisStream", HEAD | more, body), body
        )
    assert found.status == 403
    assert found.headers["x-amzn-errortype"]
    assert "sluicegate: " in json.loads(found.body)["message"]
