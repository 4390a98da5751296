"""Fixtures of the identity tests."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from addons.identity.oidc import Issuer, Verifier
from addons.identity.sealed import KeyRing
from tests.identity.idp import Idp
from tests.identity.sts import SECRET, Sts


@dataclass
class Clock:
    """A monotonic clock that only tests move."""

    time: float = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def idp() -> Iterator[Idp]:
    made = Idp()
    yield made
    made.close()


@pytest.fixture
def verifier(idp: Idp, clock: Clock) -> Verifier:
    return Verifier([Issuer(idp.issuer, "sluicegate")], clock=clock)


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing.open(tmp_path / "keyring.json")


@pytest.fixture
def sts() -> Iterator[Sts]:
    made = Sts()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def aws(sts: Sts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An AWS configuration of its own: a profile `role` that assumes a role, a profile `keys` with long-lived keys."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    config = tmp_path / "config"
    config.write_text(
        f"[profile keys]\naws_access_key_id = AKIALONGLIVED0000000\naws_secret_access_key = {SECRET}\n"
        "[profile role]\nrole_arn = arn:aws:iam::111122223333:role/gateway\nsource_profile = keys\n"
        "region = us-east-1\nservices = loopback\n"
        f"[services loopback]\nsts =\n  endpoint_url = {sts.url}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return config
