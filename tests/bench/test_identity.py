"""The room `identity`: its goals and verdict, that it measures the real thing, and what it prints."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from addons.identity.sealed import KeyRing
from addons.wire.sigv4 import SignatureRefused
from scripts.benchmarks import identity, identity_report
from scripts.benchmarks.identity import FORMS
from scripts.benchmarks.load import Failed
from scripts.benchmarks.proxy import Progress
from tests.wire import test_chunks


def result(**changes: object) -> identity.Result:
    """A run in which all went well."""
    names = [form.name for form in FORMS]
    found = identity.Result(
        ours=dict.fromkeys(names, 50.0),
        first=dict.fromkeys(names, 75.0),
        botocore=dict.fromkeys(names, 55.0),
        chunks={"8 KiB": 400.0, "64 KiB": 900.0, "1024 KiB": 1000.0},
        hashing=1500.0,
    )
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def missed(found: identity.Result) -> list[str]:
    return [goal.name for goal in found.goals if not goal.met]


def test_every_goal_counts() -> None:
    good = result()
    assert good.verdict == "met"
    assert missed(result(ours=good.ours | {"s3:GetObject": 60.5})) == ["s3:GetObject"]
    assert missed(result(chunks=good.chunks | {"64 KiB": 499.0})) == ["chunks of 64 KiB"]
    assert missed(result(ours=good.ours | {"s3:GetObject, SigV4a": 500.0})) == []
    assert result(chunks={}).verdict == result(ours={}).verdict == "missed"


def test_what_is_printed() -> None:
    found = result(ours=result().ours | {"dynamodb:GetItem": 61.0})
    text = io.StringIO()
    identity_report.show(found, Console(file=text, width=200), 1.0)
    assert "61.0 us" in text.getvalue()
    assert "missed" in text.getvalue()
    whole = json.loads(json.dumps(identity_report.as_json(found, 1.0)))
    assert (whole["bench"], whole["verdict"]) == ("identity", "missed")
    assert {goal["name"]: goal["met"] for goal in whole["goals"]}["chunks of 64 KiB"] is True


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_what_is_timed_is_verified_and_has_botocores_signature(form: identity.Form, tmp_path: Path) -> None:
    ring = KeyRing.open(tmp_path / "keyring.json")
    request = identity.signed(form, ring.seal(identity.session(1)))
    sent = identity.anew(request, form, ring)
    identity._judge(form, sent)
    assert not any(secret in str(sent) for secret in ring.seal(identity.session(1)))
    with pytest.raises(Failed, match="not signed as botocore"):
        identity._judge(form, replace(sent, method="PATCH"))
    with pytest.raises(SignatureRefused):
        identity.anew(replace(request, method="PATCH"), form, ring)


def test_the_measured_chunks_are_framed_as_the_reference_says() -> None:
    upload = test_chunks.made(test_chunks.SIGNED, [bytes(8192)] * 3)
    assert b"".join(identity.framed(upload.headers, test_chunks.SECRET, 8192, 3 * 8192)) == upload.body


def test_a_run_measures_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "STRANGERS", 20)
    monkeypatch.setattr(identity, "AGENTS", 5)
    monkeypatch.setattr(identity, "median_us", lambda call, blocks: float(bool(call()) + 1))
    steps: list[str] = []
    found = identity.run(True, Progress(lambda title, _: steps.append(title), lambda: None))
    assert steps == ["sealing sessions", "verifying and signing anew", "chunk-signed bodies"]
    assert set(found.ours) == set(found.first) == {form.name for form in FORMS}
    assert len(found.chunks) == 3
    assert min(found.chunks.values()) > 0
