"""Credentials in answers: every operation is judged, sets are swapped whole, and chained sessions stay who they are."""

import datetime
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jmespath
import pytest
from botocore.model import DenormalizedStructureBuilder

from addons.identity import vended as chained
from addons.identity.refusal import Refused
from addons.identity.sealed import MAX_TOKEN, KeyRing
from addons.identity.session import Keys, Session
from addons.redaction import Returned, Unredactable, redact, swap
from addons.wire.message import HttpResponse
from policy import models, vended
from policy.redaction import RedactionRule, compile_rule, rule_set
from tests.redaction import documents
from tests.redaction.conftest import KEY

NOW = 1_800_000_000
ROLE, INNER, FURTHER = (f"arn:aws:iam::111122223333:role/{name}" for name in ("agents", "inner", "further"))
REAL = Keys("ASIAREALREALREALREAL", "realrealrealrealrealrealrealrealrealreal", "IQoJb3JpZ2luX2Vj//real+token==")
MADE = ("ASIAMADEMADEMADEMADE", "mademademademademademademademademademade", "SLG1.0badcafe.made")
SESSION = Session(
    id="5202975792127c77",
    issuer="https://idp.example.com",
    subject="agent/ada",
    groups=("developers",),
    role=ROLE,
    label="laptop",
    token_id="t1",
    issued=NOW,
    expires=NOW + 3600,
)
VIRTUALISED = [
    (entry.service, operation, protocol)
    for (_, operation), entry in vended.table().items()
    if entry.verdict == "virtualise"
    for protocol in documents.protocols(entry.service)
]


def operations() -> Iterator[tuple[str, str, Any]]:
    """Every operation of botocore, with its output shape."""
    for service in sorted(models.loader().list_available_services("service-2")):
        model = models.service_model(service)
        for name in model.operation_names:
            yield service, name, model.operation_model(name).output_shape


@pytest.mark.long
def test_every_operation_that_looks_so_is_judged_and_no_other() -> None:
    found = {(service, name): vended.candidates(name, shape) for service, name, shape in operations()}
    unjudged = {place: names for place, names in found.items() if names and place not in vended.table()}
    assert unjudged == {}, "read what these return, and judge them in policy/data/vended.yaml"
    assert [place for place in vended.table() if not found.get(place)] == []
    assert len(vended.table()) >= 250


# AWS's own words in the API references: "a set of temporary security credentials", "the secret access key" ...
@pytest.mark.parametrize(
    ("service", "operation", "verdict"),
    [
        ("sts", "AssumeRole", "virtualise"),
        ("sts", "GetSessionToken", "virtualise"),
        ("sts", "GetFederationToken", "virtualise"),
        ("sts", "AssumeRoleWithSAML", "deny"),
        ("sts", "AssumeRoot", "deny"),
        ("s3", "CreateSession", "deny"),
        ("s3control", "GetDataAccess", "virtualise"),
        ("lakeformation", "GetTemporaryGlueTableCredentials", "virtualise"),
        ("iam", "CreateAccessKey", "deny"),
        ("iam", "CreateServiceSpecificCredential", "deny"),
        ("ecr", "GetAuthorizationToken", "deny"),
        ("codeartifact", "GetAuthorizationToken", "deny"),
        ("redshift", "GetClusterCredentials", "deny"),
        ("cognito-identity", "GetCredentialsForIdentity", "deny"),
        ("sso", "GetRoleCredentials", "deny"),
        ("eks-auth", "AssumeRoleForPodIdentity", "deny"),
        ("ec2", "CreateKeyPair", "deny"),
        ("codepipeline", "PollForJobs", "mask"),
        ("cognito-idp", "AdminInitiateAuth", "mask"),
        ("sesv2", "GetEmailIdentity", "none"),
        ("dynamodb", "GetItem", "none"),
    ],
)
def test_the_known_ones_are_judged_as_they_must_be(service: str, operation: str, verdict: str) -> None:
    shape = models.service_model(service).operation_model(operation).output_shape
    entry = vended.judge(service, operation, shape)
    assert entry.verdict == verdict
    assert entry.reason or (verdict == "none" and operation == "GetItem")


@pytest.mark.parametrize(
    "members",
    [
        {"SecretAccessKey": {"type": "string"}},
        {"Outer": {"type": "structure", "members": {"sessionToken": {"type": "string"}}}},
        {"Many": {"type": "list", "member": {"type": "structure", "members": {"AuthToken": {"type": "blob"}}}}},
        {"ByName": {"type": "map", "key": {"type": "string"}, "value": {"type": "structure", "members": {
            "PreSignedUrl": {"type": "string"}}}}},
        {"accessTokens": {"type": "list", "member": {"type": "string"}}},
    ],
)  # fmt: skip
def test_an_operation_that_nobody_has_judged_is_refused(members: dict[str, Any]) -> None:
    shape = DenormalizedStructureBuilder().with_members(members).build_model()
    entry = vended.judge("sts", "AssumeAnything", shape)
    assert entry.verdict == "deny"
    assert "newer than this gateway's table" in entry.reason
    plain = DenormalizedStructureBuilder().with_members({"NextToken": {"type": "string"}}).build_model()
    assert vended.judge("sts", "ListAnything", plain).verdict == "none"


def test_a_password_counts_where_the_operation_is_about_access() -> None:
    shape = DenormalizedStructureBuilder().with_members({"Password": {"type": "string"}}).build_model()
    assert vended.judge("sts", "GetLoginOfSomething", shape).verdict == "deny"
    assert vended.judge("sts", "DescribeEndpoint", shape).verdict == "none"


def test_every_mask_reaches_all_that_made_the_operation_a_candidate() -> None:
    for rule in vended.rules():
        assert compile_rule(rule)
    rules = rule_set(vended.rules())
    for (service, operation), entry in vended.table().items():
        if entry.verdict != "mask":
            continue
        shape = documents.model(service).operation_model(operation).output_shape
        protocol = documents.protocols(service)[0]
        for variant in range(4):
            raw = documents.written(service, operation, protocol, documents.Writer(variant).value(shape))
            out = redact(rules, documents.call(service, operation, protocol), raw, KEY).response
            after = dict(documents.leaves(documents.read(service, operation, protocol, out)))
            for path, value in documents.leaves(documents.read(service, operation, protocol, raw)):
                name = [step for step in path if isinstance(step, str)][-1:]
                if name and isinstance(value, str | bytes) and names_a_secret(operation, name[0]) and at(entry, path):
                    assert after[path] != value, (service, operation, path)


def names_a_secret(operation: str, name: str) -> bool:
    return bool(vended.NAMES.fullmatch(name) or (vended.ABOUT.match(operation) and vended.PASSWORDS.fullmatch(name)))


def at(entry: vended.Entry, path: tuple[Any, ...]) -> bool:
    """Not what people store themselves in a connection, beside the keys that AWS gives for it."""
    return entry.service != "datazone" or path[0] == "connectionCredentials"


def sample(service: str, operation: str, protocol: Any, **changes: Any) -> tuple[HttpResponse, Any]:
    """An answer with real keys in its set, written by moto's serialiser, and how botocore reads it."""
    shape = documents.model(service).operation_model(operation).output_shape
    result = documents.Writer().value(shape)
    holder = result.get("Credentials") or result.get("credentials") or result
    names = {name.lower(): name for name in holder}
    values = {
        "accesskeyid": REAL.access_key,
        "secretaccesskey": REAL.secret_key,
        "sessiontoken": REAL.token,
        "expiration": datetime.datetime.fromtimestamp(NOW + 900, datetime.UTC),
    }
    for name, value in (values | changes).items():
        holder[names[name]] = value
        if value is None:
            del holder[names[name]]
    raw = documents.written(service, operation, protocol, result)
    return raw, documents.read(service, operation, protocol, raw)


def swapped(service: str, operation: str, protocol: Any, raw: HttpResponse, seen: list[Returned]) -> HttpResponse:
    def seal(found: Returned) -> tuple[str, str, str]:
        seen.append(found)
        return MADE

    return swap(vended.places(service, operation), documents.call(service, operation, protocol), raw, seal)


@pytest.mark.parametrize(("service", "operation", "protocol"), VIRTUALISED)
def test_a_set_is_swapped_and_nothing_else(service: str, operation: str, protocol: Any) -> None:
    raw, before = sample(service, operation, protocol)
    seen: list[Returned] = []
    out = swapped(service, operation, protocol, raw, seen)
    assert seen == [Returned(REAL.access_key, REAL.secret_key, REAL.token or "", NOW + 900)]
    after = dict(documents.leaves(documents.read(service, operation, protocol, out)))
    changed = {path: after[path] for path, value in documents.leaves(before) if after[path] != value}
    assert sorted(changed.values()) == sorted(MADE)
    whole = out.body + str(out.headers).encode()
    assert not [part for part in (REAL.access_key, REAL.secret_key, REAL.token or "") if part.encode() in whole]
    assert out.get("content-length") in (None, str(len(out.body)))


@pytest.mark.parametrize(("service", "operation", "protocol"), VIRTUALISED)
def test_what_people_see_of_it_has_no_secret(service: str, operation: str, protocol: Any) -> None:
    raw, _ = sample(service, operation, protocol)
    shown = redact(vended.hiding(), documents.call(service, operation, protocol), raw, KEY).response
    assert REAL.access_key.encode() in shown.body
    assert REAL.secret_key.encode() not in shown.body
    assert (REAL.token or "").encode() not in shown.body


def test_a_rule_that_names_the_set_masks_no_synthetic_one() -> None:
    raw, _ = sample("sts", "AssumeRole", "query")
    out = swapped("sts", "AssumeRole", "query", raw, [])
    rules = rule_set([RedactionRule("sts", "AssumeRole", "[Credentials.SecretAccessKey, SourceIdentity]")])
    spare = vended.places("sts", "AssumeRole")
    masked = redact(rules, documents.call("sts", "AssumeRole", "query"), out, KEY, spare).response
    read = documents.read("sts", "AssumeRole", "query", masked)
    assert read["Credentials"]["SecretAccessKey"] == MADE[1]
    assert read["SourceIdentity"].startswith("sluicegate-redacted")


@pytest.mark.parametrize("missing", ["accesskeyid", "secretaccesskey", "sessiontoken", "expiration"])
def test_a_set_that_is_not_whole_is_not_delivered(missing: str) -> None:
    raw, _ = sample("sts", "AssumeRole", "query", **{missing: None})
    refused("not whole", "sts", "AssumeRole", "query", raw)


def refused(why: str, service: str, operation: str, protocol: Any, raw: HttpResponse) -> None:
    seen: list[Returned] = []
    with pytest.raises(Unredactable) as caught:
        swapped(service, operation, protocol, raw, seen)
    assert why in str(caught.value)
    assert not [part for part in (REAL.access_key, REAL.secret_key, REAL.token or "") if part in str(caught.value)]
    assert caught.value.__cause__ is None


def test_what_can_be_read_two_ways_is_not_delivered() -> None:
    raw, _ = sample("sts", "AssumeRole", "query")
    twice = raw.body.replace(b"<AccessKeyId>", b"<AccessKeyId>ASIAOTHEROTHEROTHERO</AccessKeyId><AccessKeyId>")
    refused("more than one", "sts", "AssumeRole", "query", replace(raw, body=twice))
    end = replace(raw, body=raw.body.replace(b"2027-01-15", b"some day"))
    refused("no readable end", "sts", "AssumeRole", "query", end)
    refused("could not be read", "sts", "AssumeRole", "query", replace(raw, body=raw.body[:-5]))
    echo = raw.body.replace(b"</AssumeRoleResult>", f"</AssumeRoleResult><E>{REAL.secret_key}</E>".encode())
    refused("more than once", "sts", "AssumeRole", "query", replace(raw, body=echo))
    header = replace(raw, headers=(*raw.headers, ("x-amz-debug", REAL.access_key)))
    refused("more than once", "sts", "AssumeRole", "query", header)
    refused("too short", "sts", "AssumeRole", "query", sample("sts", "AssumeRole", "query", secretaccesskey="")[0])
    data = json.dumps(
        {"AccessKeyId": REAL.access_key, "SecretAccessKey": 7, "SessionToken": REAL.token, "Expiration": 1}
    )
    table = ("lakeformation", "GetTemporaryGlueTableCredentials", "rest-json")
    refused("no text", *table, HttpResponse(200, (("content-type", "application/json"),), data.encode()))
    escaped = (
        data.replace("7", '"' + REAL.secret_key + '"')[:-1]
        + ', "More": "'
        + (REAL.token or "").replace("/", "\\/")
        + '"}'
    )
    refused("more than once", *table, HttpResponse(200, (("content-type", "application/json"),), escaped.encode()))


def test_an_error_holds_no_set() -> None:
    body = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>m</Message></Error></ErrorResponse>"
    raw = HttpResponse(403, (("content-type", "text/xml"),), body)
    assert swapped("sts", "AssumeRole", "query", raw, []) is raw


def test_every_path_of_a_set_names_its_four_members_in_order() -> None:
    for entry in {id(entry): entry for entry in vended.table().values() if entry.verdict == "virtualise"}.values():
        assert jmespath.compile(entry.path)
        names = vended.SET.search(entry.path)
        assert names
        assert [name.lower() for name in names.groups()] == [
            "accesskeyid",
            "secretaccesskey",
            "sessiontoken",
            "expiration",
        ]


# Chained sessions.


def test_a_chained_session_is_its_callers_with_one_more_role(ring: KeyRing) -> None:
    inner = chained.acting(SESSION, REAL, NOW + 900.7, role=INNER, label="inner")
    access_key, secret, token = ring.seal(inner)
    opened, signing = ring.unseal(access_key, token, now=NOW)
    assert (opened, signing) == (inner, secret)
    assert (opened.id, opened.subject, opened.issuer, opened.issued) == (SESSION.id, "agent/ada", SESSION.issuer, NOW)
    assert opened.roles == (ROLE, INNER)
    assert opened.keys == REAL
    assert opened.groups == ()  # they are decided at each call
    with pytest.raises(Refused, match="ExpiredToken"):
        ring.unseal(access_key, token, now=NOW + 900)
    further = chained.acting(opened, REAL, NOW + 100, role=FURTHER, label="further")
    assert further.roles == (ROLE, INNER, FURTHER)


def test_keys_without_a_role_act_for_the_session(ring: KeyRing) -> None:
    found = chained.acting(SESSION, REAL, NOW + 900)
    assert (found.roles, found.label, found.keys) == ((ROLE,), "laptop", REAL)


def test_neither_a_session_nor_its_token_shows_the_real_keys(ring: KeyRing) -> None:
    inner = chained.acting(SESSION, REAL, NOW + 900, role=INNER)
    shown = repr(inner) + str(inner) + repr(ring) + "".join(ring.seal(inner))
    for part in (REAL.access_key, REAL.secret_key, REAL.token or ""):
        assert part not in shown


def test_real_tokens_of_any_length_fit_or_are_refused(ring: KeyRing) -> None:
    # STS's documentation: no maximum size is to be assumed; today's are under 4,096 characters.
    inner = chained.acting(SESSION, replace(REAL, token="t" * 8192), NOW + 900, role=INNER)
    assert len(ring.seal(inner)[2]) < 12_000
    with pytest.raises(ValueError, match="too large"):
        ring.seal(chained.acting(SESSION, replace(REAL, token="t" * MAX_TOKEN), NOW + 900, role=INNER))


@pytest.mark.parametrize(
    ("role", "bound", "why"),
    [
        (None, [INNER], "missing"),
        (["a"], [INNER], "missing"),
        ("", [INNER], "missing"),
        ("arn:aws:iam::111122223333:user/inner", ["arn:aws:iam::111122223333:user/inner"], "none"),
        (INNER + "\n", [INNER + "\n"], "none"),
        (INNER, [ROLE], "no group of agent/ada has the role"),
        (INNER.lower().replace("role", "Role"), [INNER], "none"),
        ("arn:aws-cn:iam::111122223333:role/x", ["arn:aws-cn:iam::111122223333:role/x"], "partition"),
    ],
)
def test_a_role_that_may_not_be_assumed(role: object, bound: list[str], why: str) -> None:
    assert why in chained.reason_not_to(SESSION, role, bound, "aws")
    assert chained.reason_not_to(SESSION, INNER, [INNER], "aws") == ""


def test_a_chain_has_a_bound() -> None:
    session = SESSION
    for _ in range(chained.LONGEST):
        assert chained.reason_not_to(session, INNER, [INNER], "aws") == ""
        session = chained.acting(session, REAL, NOW + 900, role=INNER)
    assert "assumed one from the other already" in chained.reason_not_to(session, INNER, [INNER], "aws")


def test_the_account_is_that_of_the_role_that_acts() -> None:
    other = "arn:aws:iam::444455556666:role/there"
    assert chained.account(SESSION, "111122223333") == "111122223333"
    assert chained.account(chained.acting(SESSION, REAL, NOW + 900, role=other), "111122223333") == "444455556666"
