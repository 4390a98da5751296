"""Condition operators one by one. Sources: IAM User Guide, "Condition operators" and "Multiple keys or values"."""

import datetime
from decimal import Decimal
from typing import Any

import pytest

from policy.conditions import NAMES, OPERATORS, Keys, Unusable, all_hold, compile_condition


def holds(operator: str, value: Any, *wanted: str) -> bool:
    params = {} if value is None else {"Key": value}
    return compile_condition(operator, "req:Key", wanted).holds(Keys(params, {}))


@pytest.mark.parametrize(
    ("operator", "value", "wanted", "expected"),
    [
        ("StringEquals", "a", ["a"], True),
        ("StringEquals", "A", ["a"], False),
        ("StringEquals", "a", ["b", "a"], True),  # values are joined by OR
        ("StringEquals", "a*", ["a*"], True),
        ("StringEquals", "ab", ["a*"], False),
        ("StringEquals", 7, ["7"], True),
        ("StringNotEquals", "a", ["b", "c"], True),  # of a negated operator by NOR
        ("StringNotEquals", "a", ["b", "a"], False),
        ("StringEqualsIgnoreCase", "AbC", ["aBc"], True),
        ("StringNotEqualsIgnoreCase", "AbC", ["aBc"], False),
        ("StringLike", "home/ada/x", ["home/*"], True),
        ("StringLike", "home", ["home/*"], False),
        ("StringLike", "abc", ["a?c"], True),
        ("StringLike", "a*c", ["a?c"], True),  # in a value a wildcard is itself
        ("StringLike", "*", ["secret"], False),
        ("StringLike", "a\nb", ["a*"], True),
        ("StringNotLike", "t3.micro", ["t3.*", "t4g.*"], False),
        ("StringNotLike", "m5.large", ["t3.*", "t4g.*"], True),
        ("NumericEquals", 5, ["5"], True),
        ("NumericEquals", "5.0", ["5"], True),
        ("NumericNotEquals", 5, ["5", "6"], False),
        ("NumericLessThan", 4, ["5"], True),
        ("NumericLessThan", 5, ["5"], False),
        ("NumericLessThanEquals", 5, ["5"], True),
        ("NumericGreaterThan", 10, ["9"], True),  # as numbers: "10" < "9" as text
        ("NumericGreaterThan", 2, ["2"], False),
        ("NumericGreaterThanEquals", 2, ["2"], True),
        ("NumericGreaterThan", -1, ["-2.5"], True),
        ("Bool", True, ["true"], True),
        ("Bool", "TRUE", ["true"], True),
        ("Bool", False, ["true"], False),
        ("Null", "a", ["false"], True),
        ("Null", "a", ["true"], False),
        ("Null", ["list"], ["false"], True),
    ],
)
def test_operators_on_a_present_key(operator: str, value: Any, wanted: list[str], expected: bool) -> None:
    assert holds(operator, value, *wanted) is expected


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_an_absent_key_is_false_for_positive_and_true_for_negated_operators(operator: str) -> None:
    """ "If the key is not present ... the values do not match"; a negated operator is then true; IfExists is true."""
    wanted = "true" if operator == "Bool" else "1"
    assert holds(operator, None, wanted) is ("Not" in operator)
    assert holds(f"{operator}IfExists", None, wanted) is True
    assert holds("Null", None, "true") is True
    assert holds("Null", None, "false") is False


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("NumericLessThan", "five"),
        ("NumericLessThan", True),
        ("NumericNotEquals", "nan"),
        ("NumericGreaterThan", "1_0"),
        ("NumericGreaterThan", "Infinity"),
        ("NumericGreaterThan", "1" * 50),
        ("NumericGreaterThan", "٣"),
        ("Bool", "yes"),
        ("Bool", 1),
        ("StringEquals", ["a"]),
        ("StringNotEquals", ["a"]),
        ("StringNotLike", {"a": "b"}),
        ("StringEquals", b"a"),
        ("StringNotEquals", datetime.datetime(2026, 1, 1)),
        ("StringEquals", True),
        ("StringEquals", Decimal(1)),
    ],
)
def test_a_value_of_the_wrong_kind_is_an_error_for_negated_operators_too(operator: str, value: Any) -> None:
    wanted = "true" if operator == "Bool" else "1"
    with pytest.raises(Unusable) as caught:
        holds(operator, value, wanted)
    assert "req:Key" in str(caught.value)
    if isinstance(value, str):
        assert value not in str(caught.value)


def test_paths_lead_into_structures_and_no_further() -> None:
    keys = Keys({"Outer": {"Inner": "a"}, "List": [{"Inner": "a"}], "Text": "a"}, {})
    assert compile_condition("StringEquals", "req:Outer.Inner", ["a"]).holds(keys)
    assert compile_condition("Null", "req:Outer.Other", ["true"]).holds(keys)
    assert compile_condition("Null", "req:Gone.Inner", ["true"]).holds(keys)
    for path in ("req:List.Inner", "req:Text.Inner"):
        for operator in ("StringEquals", "StringNotEquals", "StringEqualsIfExists", "Null"):
            with pytest.raises(Unusable):
                compile_condition(operator, path, ["true"]).holds(keys)
    assert keys.read == {"req:Outer.Inner": "a"}
    assert list(keys.missing) == ["req:Outer.Other", "req:Gone.Inner"]


def test_keys_of_the_call_are_found_without_case_and_must_be_known() -> None:
    keys = Keys({}, {"AWS:RequestedRegion": "eu-west-1"})
    assert compile_condition("StringEquals", "aws:requestedregion", ["eu-west-1"]).holds(keys)
    for operator in ("StringEquals", "StringNotEquals", "StringNotEqualsIfExists"):
        with pytest.raises(Unusable):  # what the gateway should know and doesn't is not merely absent
            compile_condition(operator, "aws:SourceIp", ["192.0.2.1"]).holds(keys)


def test_conditions_are_joined_by_and_in_any_order() -> None:
    yes, no = compile_condition("StringEquals", "req:A", ["a"]), compile_condition("StringEquals", "req:A", ["b"])
    broken = compile_condition("NumericEquals", "req:A", ["1"])
    keys = Keys({"A": "a"}, {})
    assert all_hold([], keys)
    assert all_hold([yes, yes], keys)
    assert not all_hold([yes, no], keys)
    assert not all_hold([broken, no], keys)
    assert not all_hold([no, broken], keys)
    for order in ([yes, broken], [broken, yes]):
        with pytest.raises(Unusable):
            all_hold(order, keys)


@pytest.mark.parametrize(
    ("operator", "key", "values"),
    [
        ("StringEqual", "req:A", ["a"]),
        ("ForAllValues:StringEquals", "req:A", ["a"]),
        ("NullIfExists", "req:A", ["true"]),
        ("IpAddress", "aws:SourceIp", ["192.0.2.0/24"]),
        ("StringEquals", "aws:PrincipalOrgID", ["o-1"]),
        ("StringEquals", "req:", ["a"]),
        ("StringEquals", "req:A[0]", ["a"]),
        ("StringEquals", "req:A..B", ["a"]),
        ("StringEquals", "req:A", []),
        ("StringEquals", "req:A", ["${gate:subject}"]),
        ("Null", "req:A", ["yes"]),
        ("Null", "req:A", ["true", "false"]),
        ("NumericEquals", "req:A", ["one"]),
        ("NumericEquals", "req:A", ["1e5"]),
        ("Bool", "req:A", ["1"]),
    ],
)
def test_what_could_not_be_tested_is_refused_when_it_is_read(operator: str, key: str, values: list[str]) -> None:
    with pytest.raises(ValueError):
        compile_condition(operator, key, values)


def test_every_operator_can_be_written() -> None:
    assert len(NAMES) == 2 * len(OPERATORS) + 1
