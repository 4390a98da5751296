"""IAM's wildcards, against an enumerator that spells out every text of a small alphabet."""

import itertools
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.patterns import action_matches, covers, glob, meet, overlaps

LETTERS = "ab"
TEXTS = ["".join(t) for n in range(6) for t in itertools.product(LETTERS + "x", repeat=n)]


def matches(pattern: str, text: str) -> bool:
    """The plain meaning of a pattern, without any of the tricks under test."""
    return bool(re.fullmatch("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern), text))


def readings(resource: str) -> list[str]:
    """What a partly unknown name may be, among the texts."""
    return [text for text in TEXTS if matches(resource, text)]


globs = st.text(alphabet=LETTERS + "*?", max_size=5)


@given(globs, st.text(alphabet=LETTERS + "x", max_size=8))
def test_a_glob_matches_as_its_plain_meaning(pattern: str, text: str) -> None:
    assert bool(glob(pattern).fullmatch(text)) == matches(pattern, text)


@given(globs, st.text(alphabet=LETTERS + "*", max_size=4))
def test_what_covers_matches_every_reading_of_an_unknown_part(pattern: str, resource: str) -> None:
    """`x` is a letter that no pattern spells out, so the texts tell all patterns apart."""
    every = all(matches(pattern, text) for text in readings(resource))
    claimed = covers(f"arn:aws:s3:::{pattern}", f"arn:aws:s3:::{resource}")
    assert every or not claimed
    if "?" not in pattern:
        assert claimed == every


@given(globs, st.text(alphabet=LETTERS + "*?", max_size=4))
def test_what_overlaps_has_a_common_text(pattern: str, resource: str) -> None:
    common = any(matches(pattern, text) for text in readings(resource))
    if common:
        assert meet(pattern, resource)
        assert overlaps(f"arn:aws:s3:::{pattern}", f"arn:aws:s3:::{resource}")
    elif len(pattern.replace("*", "")) + len(resource.replace("*", "")) <= 5:  # else a common text may be longer
        assert not meet(pattern, resource)


def test_actions_are_compared_without_case() -> None:
    """IAM User Guide, Action: "The prefix and the action name are case insensitive"."""
    assert action_matches("S3:getobject", "s3:GetObject")
    assert action_matches("s3:Get*", "S3:GETOBJECT")
    assert action_matches("*:Delete*", "s3:DeleteBucket")
    assert action_matches("*", "s3:GetObject")
    assert not action_matches("s3:Get", "s3:GetObject")
    assert not action_matches("s3:Get?bject", "s3:GetTheObject")
    assert not action_matches("3:GetObject", "s3:GetObject")


@pytest.mark.parametrize(
    ("pattern", "resource", "expected"),
    [
        # IAM User Guide, Resource: wildcards stand within a segment, and at the end reach beyond it.
        ("arn:aws:s3:::amzn-s3-demo-bucket/*", "arn:aws:s3:::amzn-s3-demo-bucket/1/object.jpg", True),
        ("arn:aws:s3:::amzn-s3-demo-bucket/*/test/*", "arn:aws:s3:::amzn-s3-demo-bucket/1/2/test/3/object.jpg", True),
        (
            "arn:aws:s3:::amzn-s3-demo-bucket/*/test/object.???",
            "arn:aws:s3:::amzn-s3-demo-bucket/a/test/object.jpg",
            True,
        ),
        ("arn:aws:s3:::amzn-s3-demo-bucket/*/test/*", "arn:aws:s3:::amzn-s3-demo-bucket/1-test/object.jpg", False),
        ("arn:aws:sqs:*:111122223333:q", "arn:aws:sqs:eu-west-1:111122223333:q", True),
        ("arn:aws:sqs:*:q", "arn:aws:sqs:eu-west-1:111122223333:q", False),
        ("arn:aws:ec2:*:*:instance/*", "arn:aws:ec2:us-east-1:111122223333:volume/vol-1", False),
        ("arn:*:s3:::b", "arn:aws-cn:s3:::b", True),
        ("arn:aws:sqs", "arn:aws:sqs:eu-west-1:111122223333:q", True),
        ("arn:aws:sqs:us-*", "arn:aws:sqs:eu-west-1:111122223333:q", False),
        ("arn:aws:s3:::Bucket", "arn:aws:s3:::bucket", False),
        ("arn:aws:lambda:*:*:function:f", "arn:aws:lambda:eu-west-1:111122223333:function:f:prod", False),
        ("arn:aws:lambda:*:*:function:f:*", "arn:aws:lambda:eu-west-1:111122223333:function:f:prod", True),
        ("no-arn", "arn:aws:s3:::b", False),
        ("arn:aws:s3:::b", "*", False),  # an action without resource is asked about as "*"
        ("*", "*", True),
    ],
)
def test_arns_match_segment_by_segment(pattern: str, resource: str, expected: bool) -> None:
    assert covers(pattern, resource) is expected
    assert overlaps(pattern, resource) is expected


@pytest.mark.parametrize(
    ("pattern", "resource", "covered", "overlapping"),
    [
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b/*", True, True),
        ("arn:aws:s3:::b/a*", "arn:aws:s3:::b/*", False, True),
        ("arn:aws:s3:::b/a", "arn:aws:s3:::b/*", False, True),
        ("arn:aws:s3:::c/*", "arn:aws:s3:::b/*", False, False),
        ("arn:aws:s3:::b/?", "arn:aws:s3:::b/*", False, True),
        ("arn:aws:sqs:us-east-1:*:q", "arn:aws:sqs:*:111122223333:q", False, True),
        ("arn:aws:s3:::b", "arn:*:*:*:*:*", False, True),
        ("*", "arn:*:*:*:*:*", True, True),
        ("arn:aws:secretsmanager:*:*:secret:db-??????", "arn:aws:secretsmanager:r:1:secret:db-??????", True, True),
        ("arn:aws:secretsmanager:*:*:secret:db-*", "arn:aws:secretsmanager:r:1:secret:db-??????", True, True),
        ("arn:aws:secretsmanager:*:*:secret:db-AbCdEf", "arn:aws:secretsmanager:r:1:secret:db-??????", False, True),
        ("arn:aws:secretsmanager:*:*:secret:db-AbCdE", "arn:aws:secretsmanager:r:1:secret:db-??????", False, False),
    ],
)
def test_an_unknown_part_is_covered_by_a_wildcard_only(
    pattern: str, resource: str, covered: bool, overlapping: bool
) -> None:
    assert covers(pattern, resource) is covered
    assert overlaps(pattern, resource) is overlapping


def test_matching_stays_fast_on_texts_made_to_be_slow() -> None:
    began = time.perf_counter()
    assert not covers("arn:aws:s3:::" + "*ab" * 12 + "*c", "arn:aws:s3:::" + "ab" * 500)
    assert not overlaps("arn:aws:s3:::" + "*ab" * 12 + "*c", "arn:aws:s3:::*" + "ab" * 500)
    assert time.perf_counter() - began < 1
