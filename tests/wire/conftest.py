"""The host index is built once and kept for later runs: in a directory of this user's, checked by its digest."""

import os
import tempfile
from pathlib import Path

import pytest

from addons import wire

CACHE = Path(tempfile.gettempdir()) / f"sluicegate-tests-{os.geteuid()}"


@pytest.fixture(scope="session", autouse=True)
def index() -> None:
    CACHE.mkdir(mode=0o700, exist_ok=True)
    wire.load(CACHE)
