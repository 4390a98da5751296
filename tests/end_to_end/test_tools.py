"""The tools of the end-to-end tests: a missing one can't pass unseen, and none is built twice or by half."""

import json
from pathlib import Path

import pytest

from tests import tools


def absent() -> str:
    raise tools.Missing("no such tool")


def test_a_missing_tool_skips_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="NOT TESTED: no such tool"):
        tools.need(absent)


def test_a_missing_tool_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no such tool"):
        tools.need(absent)


def test_a_tool_is_built_once_and_again_where_the_first_build_broke_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tools, "CACHE", tmp_path)
    built: list[list[str]] = []

    def build(place: Path) -> None:
        built.append([path.name for path in place.iterdir()])
        (place / "half").touch()
        if len(built) == 1:
            tools.run("false")

    with pytest.raises(tools.Missing, match="`false` failed"):
        tools.make("tool", build)
    assert tools.make("tool", build) == tools.make("tool", build) == tmp_path / "tool"
    assert built == [[], []]


def test_the_lock_file_pins_every_package_by_its_hash_and_names_no_registry() -> None:
    packages = json.loads((tools.JAVASCRIPT / "package-lock.json").read_text())["packages"]
    del packages[""]
    assert packages
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not [name for name, package in packages.items() if "resolved" in package]
