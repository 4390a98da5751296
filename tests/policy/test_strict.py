"""The strict YAML loader: what PyYAML would quietly change or drop is a problem with a line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import yaml

from policy import strict
from policy.problems import Invalid


@dataclass(frozen=True, slots=True)
class Inner:
    name: str
    effect: Literal["allow", "deny"] = "deny"


@dataclass(frozen=True, slots=True)
class Outer:
    account: str
    items: list[Inner] = field(default_factory=list)
    size: int = 1
    on: bool = False
    either: Literal["deny"] | list[str] = "deny"
    mapping: dict[str, str | list[str]] = field(default_factory=dict)


@pytest.fixture(autouse=True, params=["CSafeLoader", "SafeLoader"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With libyaml and without: both must read, and refuse, the same."""
    if not hasattr(yaml, request.param):
        pytest.skip("this PyYAML was built without libyaml")
    monkeypatch.setattr(strict, "LOADER", getattr(yaml, request.param))


def problems(text: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        strict.loads(text, "f.yaml", Outer)
    return [str(p) for p in caught.value.problems]


def test_scalars_stay_what_was_written() -> None:
    loaded = strict.loads("account: 012345670123\nmapping: {a: 10:30, b: 2012-10-17, c: [no, on]}", "f", Outer)
    assert loaded.value.account == "012345670123"
    assert loaded.value.mapping == {"a": "10:30", "b": "2012-10-17", "c": ["no", "on"]}


def test_lines_are_known_for_every_place() -> None:
    loaded = strict.loads("account: a\nitems:\n- name: x\n- name: y\n", "f", Outer)
    assert loaded.lines["items[1]"] == 4
    assert loaded.lines["account"] == 1


def test_every_problem_is_reported_at_once_with_its_line() -> None:
    found = problems("acount: 1\nitems:\n- {name: x, effect: alow}\n- {name: y, name: z}\nsize: two\n")
    assert any(p.startswith("f.yaml:1: unknown key 'acount'") and "account" in p for p in found)
    assert any(p.startswith("f.yaml:3:") and "'alow'" in p and "allow" in p for p in found)
    assert any(p.startswith("f.yaml:4:") and "twice" in p for p in found)
    assert any(p.startswith("f.yaml:5:") for p in found)
    assert any("lacks the key 'account'" in p for p in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("account: a\naccount: b", "twice"),
        ("account: null", "not text"),
        ("account: true", "not text"),
        ("account: a\nsize: 0x10", "whole number"),
        ("account: a\nsize: '1'", "whole number"),
        ("account: a\non: yes", "true or false"),
        ("account: &x a\nmapping: {b: *x}", "anchors"),
        ("account: !!str a", "tags"),
        ("account: !python/object:os.system a", "tags"),
        ("account: a\n---\naccount: b", "document"),
        ("account: a\nmapping: {<<: {a: b}}", "not text"),
        ("account: a\neither: maybe", "not one of deny"),
        ("account: a\nitems: {a: b}", "must be a list"),
        ("account: [*:Delete*]", "f.yaml:1"),
        ("account: a\nmapping: {null: b}", "not text"),
        ("account: " + "[" * 60 + "]" * 60, "nested deeper"),
        ("- a", "must be a mapping"),
        ("account: a\nmapping: {? [a]: b}", "key must be text"),
    ],
)
def test_what_yaml_would_quietly_change_is_refused(text: str, said: str) -> None:
    assert any(said in problem for problem in problems(text))


def test_files_that_cannot_be_read_are_problems(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"account: \xff")
    (tmp_path / "large").write_bytes(b"#" * 1_000_001)
    for name, said in (("missing", "No such file"), ("latin", "not UTF-8"), ("large", "larger"), (".", "directory")):
        with pytest.raises(Invalid) as caught:
            strict.load(tmp_path / name, Outer)
        assert said in str(caught.value)
