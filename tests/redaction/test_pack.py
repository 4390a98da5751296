"""The shipped pack: it loads, and for every operation in it exactly the named members change."""

from collections.abc import Iterator

import jmespath
import pytest
import yaml

from addons.redaction import redact
from policy.redaction import CompiledRule, RedactionRule, RuleSet, rule_set
from policy.strict import PACKS

from . import documents
from .conftest import KEY


@pytest.fixture(scope="module")
def pack() -> RuleSet:
    rules = yaml.safe_load((PACKS / "secrets.yaml").read_text())["rules"]
    return rule_set(RedactionRule(**rule) for rule in rules)


def check(rules: RuleSet, service: str, operation: str, protocol: str) -> int:
    """Write, mask, read: the number of places masked, after asserting that nothing else changed."""
    compiled = rules.for_operation(service, operation)
    shape = documents.model(service).operation_model(operation).output_shape
    for variant in range(12):
        raw = documents.written(service, operation, protocol, documents.Writer(variant).value(shape))
        before = documents.read(service, operation, protocol, raw)
        secrets = set(located(compiled, before))
        if not secrets:
            continue
        out = redact(rules, documents.call(service, operation, protocol), raw, KEY)
        after = dict(documents.leaves(documents.read(service, operation, protocol, out.response)))
        for path, value in documents.leaves(before):
            place = f"{service} {operation} {protocol} {path}"
            if isinstance(value, bool):
                assert after.get(path, True) is True, place
            elif value in secrets:
                assert after[path] != value, place
                assert type(after[path]) is type(value), place
            else:
                assert after[path] == value, place
        for secret in secrets:
            if isinstance(secret, str):
                assert secret.encode() not in out.response.body
                assert all(secret not in value for _, value in out.response.headers)
        return len(secrets)
    return 0


def located(compiled: tuple[CompiledRule, ...], document: object) -> Iterator[object]:
    for rule in compiled:
        for path, value in documents.leaves(jmespath.search(rule.rule.path, document)):
            if value is not None and not isinstance(value, bool) and (path or not isinstance(value, dict | list)):
                yield value


NAMED = [  # service, operations that issue 2 names for this pack
    ("secretsmanager", ["GetSecretValue", "BatchGetSecretValue", "GetRandomPassword"]),
    ("ssm", ["GetParameter", "GetParameters", "GetParametersByPath", "GetParameterHistory"]),
    ("sts", ["AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "GetSessionToken", "GetFederationToken"]),
    ("iam", ["CreateAccessKey"]),
    ("lambda", ["GetFunction", "GetFunctionConfiguration", "ListFunctions", "CreateFunction"]),
    ("lambda", ["UpdateFunctionConfiguration", "UpdateFunctionCode", "PublishVersion", "ListVersionsByFunction"]),
    ("kms", ["Decrypt", "GenerateDataKey", "GenerateDataKeyPair"]),
    ("ec2", ["GetPasswordData", "CreateKeyPair", "DescribeInstanceAttribute"]),
    ("ecr", ["GetAuthorizationToken"]),
    ("codeartifact", ["GetAuthorizationToken"]),
]


@pytest.mark.parametrize(("service", "operations"), NAMED)
def test_the_named_operations_are_masked(pack: RuleSet, service: str, operations: list[str]) -> None:
    for operation in operations:
        for protocol in documents.protocols(service):
            assert check(pack, service, operation, protocol)


@pytest.mark.long
def test_every_operation_of_the_pack_is_masked_and_nothing_else(pack: RuleSet) -> None:
    missed = [
        (service, operation, protocol)
        for service in sorted({rule.service for rule in pack.rules})
        for operation in pack.for_service(service)
        for protocol in documents.protocols(service)
        if not check(pack, service, operation, protocol)
    ]
    assert missed == []
