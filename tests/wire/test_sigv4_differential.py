"""The verifier and the signer beside botocore's own signers, over as many random requests as a run has time for.

What botocore signed is taken, what nobody signed is not, and what is signed anew has botocore's signature for it.
"""

from collections import Counter
from collections.abc import Callable

import pytest

from addons.wire import canonical, sigv4
from addons.wire.message import HttpRequest
from addons.wire.sigv4 import SignatureRefused, in_headers, parse_authorization, sign, verify
from tests.wire import differential
from tests.wire.differential import KEY, NOW, SECRET, Case

REAL = ("AKIAREALREALREALREAL", "realrealrealrealrealrealrealrealrealreal", "real-token")
REFUSED: frozenset[str] = frozenset()  # the odd forms (`differential.odd`) that may be refused: none is


def accepted(request: HttpRequest) -> bool:
    try:
        found = parse_authorization(request)
        verify(request, found, SECRET, now=NOW)
        if found.expires is not None:
            in_headers(request, found)
    except SignatureRefused:
        return False
    return found.access_key == KEY  # no signature covers it: unsealing binds it to its token


def signed_anew(case: Case) -> str | None:
    """What is wrong with the request as it would be sent."""
    request = case.request
    found = parse_authorization(request)
    if found.expires is not None:
        request = in_headers(request, found)
    headers = sign(
        request, access_key=REAL[0], secret_key=REAL[1], token=REAL[2], service=case.service, region="us-east-1",
        now=NOW,
    )  # fmt: skip
    sent = HttpRequest(request.method, request.host, request.target, headers, request.body)
    if sent.get("authorization") != differential.signature_of_botocore(case, sent, REAL):
        return "another signature than botocore's"
    if not set(found.signed_headers) <= set(parse_authorization(sent).signed_headers):
        return "a header that was signed is not"
    return None


def run(first: int, count: int) -> Counter[str]:
    """How many were taken of each odd form, and of the others. A single false reject or accept fails the run."""
    counts: Counter[str] = Counter()
    for case in differential.cases(first, count):
        assert accepted(case.request) or differential.odd(case) in REFUSED, f"a false reject: {case}"
        assert signed_anew(case) is None, case
        counts[differential.odd(case) or ("presigned" if case.presigned else "in headers")] += 1
        changed = differential.changed(case)
        assert not accepted(changed), f"a false accept: {case.seed} {changed}"
    return counts


def test_two_thousand_requests_beside_botocore() -> None:
    assert min(run(0, 2_000).values()) > 10


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(4))
def test_a_hundred_thousand_requests_beside_botocore(part: int) -> None:
    counts = run(10_000 + part * 25_000, 25_000)
    assert counts.total() == 25_000
    assert len(counts) == 4


@pytest.mark.parametrize(
    ("where", "name", "broken"),
    [
        (canonical, "_query", lambda query: query.partition("&")[0]),
        (canonical, "_path", lambda path, service: path.partition("%")[0]),
        (canonical, "_trimmed", lambda value: value.strip().lower()),
        (sigv4, "_matches", lambda authorization, text, secret: True),
    ],
)
def test_a_broken_verifier_would_be_found(
    monkeypatch: pytest.MonkeyPatch, where: object, name: str, broken: Callable[..., object]
) -> None:
    monkeypatch.setattr(where, name, broken)
    with pytest.raises(AssertionError):
        run(0, 500)
