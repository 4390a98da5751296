"""A reload that fails, in whatever way."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from addons import config
from addons.services import Rules, Services


async def test_a_reload_that_crashes_leaves_the_old_rules_in_force_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(path: Path) -> config.Gateway:
        raise RuntimeError("a secret")

    async def event(kind: str, **fields: Any) -> None:
        written.append(kind)

    written: list[str] = []
    monkeypatch.setattr(config, "load", load)
    services = Services.__new__(Services)
    services.rules = old = cast(Rules, SimpleNamespace(gateway=SimpleNamespace(file=Path("gateway.yaml"))))
    services.ledger = cast(Any, SimpleNamespace(event=event))
    assert await services.reload() is False
    assert services.rules is old
    assert "refused" in services.stale
    assert written == ["reload-failed"]
    assert "the old policy stays in force" in (said := capsys.readouterr().err)
    assert "a secret" not in said
