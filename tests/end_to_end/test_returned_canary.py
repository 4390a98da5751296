"""Every operation whose answer is virtualised or masked, called by boto3: nothing of it that opens things is anywhere.

AWS is played by moto's serialisers: each answer is whole, and each member that looks like a credential is a canary.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from policy import models, vended
from tests import agent
from tests.end_to_end.test_canary import Operator
from tests.fail_closed.conftest import Stand, standing
from tests.harness import ACCOUNT, ROLE, Seen
from tests.redaction import documents

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
INNER = f"arn:aws:iam::{ACCOUNT}:role/inner"
UNSIGNED = {"AssociateSoftwareToken", "GetTokensFromRefreshToken", "InitiateAuth", "RespondToAuthChallenge"}
CALLS = [
    (service, operation)
    for (service, operation), entry in vended.table().items()
    if entry.verdict in ("virtualise", "mask")
    and operation not in UNSIGNED
    and service != "mediapackage"  # whose deprecated operations no policy can name
]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A gateway under which these calls are allowed by name, without a rule of redaction."""
    actions = sorted({f"{models.prefix(service)}:{operation}" for service, operation in CALLS})
    statement = {"sid": "all", "effect": "allow", "actions": [*actions, "iam:PassRole"], "resources": ["*"]}
    policy = {"version": 1, "policies": [{"name": "all", "statements": [statement]}]}
    groups = f"{{developers: {{policies: [./policy.yaml], roles: ['{ROLE}', '{INNER}']}}}}"
    with standing(tmp_path_factory.mktemp("gateway"), json.dumps(policy), groups=groups, redaction="[]") as made:
        yield made


class Planter:
    """Makes answers whose credentials are canaries."""

    def __init__(self) -> None:
        self.canaries: list[str] = []

    def answer(self, service: str, operation: str) -> dict[str, Any]:
        """An answer of an operation, and what it holds is among `canaries`."""
        shape = documents.model(service).operation_model(operation).output_shape
        result: dict[str, Any] = documents.Writer().value(shape)
        if service == "datazone":  # beside AWS's keys it holds what the connection's owner stored
            self._plant(result["connectionCredentials"], operation)
        else:
            self._plant(result, operation)
        return result

    def _plant(self, node: Any, operation: str) -> None:
        if isinstance(node, list):
            for each in node:
                self._plant(each, operation)
        for name, value in node.items() if isinstance(node, dict) else ():
            if not isinstance(value, str):
                self._plant(value, operation)
            elif vended.NAMES.fullmatch(name) or vended.PASSWORDS.fullmatch(name) or part_of_a_set(name, node):
                self.canaries.append(f"canary-{len(self.canaries)}-of-{operation}")
                node[name] = self.canaries[-1]


def part_of_a_set(name: str, node: dict[str, Any]) -> bool:
    """Whether it is the access key of temporary credentials; one by itself is but a name (iam:ListAccessKeys)."""
    return name.lower() == "accesskeyid" and "sessiontoken" in {other.lower() for other in node}


def asked(service: str, operation: str) -> dict[str, Any]:
    """Parameters that boto3 takes for it."""
    shape = documents.model(service).operation_model(operation).input_shape
    found: dict[str, Any] = Asked().value(shape) if shape else {}
    return found | ({"RoleArn": INNER, "RoleSessionName": "inner"} if operation == "AssumeRole" else {})


class Asked(documents.Writer):
    """Plain parameters, the required ones alone."""

    def value(self, shape: Any, stack: tuple[str, ...] = ()) -> Any:
        if shape.type_name == "structure" and not getattr(shape, "is_tagged_union", False):
            needed = {name: shape.members[name] for name in shape.required_members}
            return {name: self.value(member, (*stack, shape.name)) for name, member in needed.items()}
        if shape.type_name == "string":
            least = int(shape.metadata.get("min", 0))
            return shape.enum[0] if shape.enum else ("123456789012" * 20)[: max(12, least)]
        if shape.type_name == "blob":
            return b"blob"
        return super().value(shape, stack)


def test_no_credential_of_any_answer_is_anywhere(stand: Stand) -> None:
    planter, told, refused = Planter(), [], {}
    for service, operation in CALLS:
        client = agent.client(stand.gateway, service, attempts=1)
        protocol = client.meta.service_model.resolved_protocol
        raw = documents.written(service, operation, protocol, planter.answer(service, operation))

        def answer(seen: Seen, raw: Any = raw) -> tuple[int, dict[str, str], bytes]:
            return 200, dict(raw.headers), raw.body

        stand.upstream.answer = answer
        before = len(stand.upstream.seen)
        try:
            told.append(repr(getattr(client, xform_name(operation))(**asked(service, operation))))
        except ClientError as error:
            refused[service, operation] = str(error)
        assert len(stand.upstream.seen) == before + 1, refused.get((service, operation))
    assert refused == {}
    assert len(planter.canaries) > 140
    words = "\n".join(told)
    assert words.count("sluicegate-redacted") > 100
    assert words.count("SLG1.") == sum(entry.verdict == "virtualise" for entry in vended.table().values())
    assert [canary for canary in planter.canaries if canary in words] == []
    needles = [canary.encode() for canary in planter.canaries]
    places = {str(path): path.read_bytes() for path in stand.gateway.directory.rglob("*") if path.is_file()}
    assert sum(body.count(b"codepipeline") for name, body in places.items() if name.endswith(".mitm")) >= 3
    places |= Operator(stand.gateway).everything()
    assert [(name, needle) for name, body in places.items() for needle in needles if needle in body] == []
