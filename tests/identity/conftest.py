"""Fixtures of the identity tests."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from addons.identity.oidc import Issuer, Verifier
from addons.identity.sealed import KeyRing
from tests.identity.idp import Idp


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
