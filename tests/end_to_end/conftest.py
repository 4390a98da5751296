"""One AWS, one gateway and one running client of each kind for a whole file of tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end import agents
from tests.end_to_end.agents import Agent
from tests.end_to_end.aws import Aws
from tests.harness import Gateway, Upstream, gateway

POLICY = """\
version: 1
policies:
- name: agent
  statements:
  - sid: look
    effect: allow
    actions:
    - sts:GetCallerIdentity
    - ec2:DescribeVpcs
    - lambda:ListFunctions
    - dynamodb:GetItem
    - sqs:SendMessage
    - cloudwatch:ListMetrics
    - secretsmanager:GetSecretValue
    - s3:ListBucket
    - s3:GetObject
    - s3:PutObject
    resources: ["*"]
  - sid: ask-a-person
    effect: approve
    actions: ["dynamodb:DeleteTable"]
    resources: ["arn:aws:dynamodb:us-east-1:123456789012:table/*"]
  - sid: never-delete-buckets
    effect: deny
    actions: ["s3:DeleteBucket"]
    resources: ["*"]
"""
ACCESS = "Ask in #platform."
COMMAND_LINES = {"aws-cli-1", "aws-cli-2"}  # a process a call, of seconds each


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """An AWS that counts what reaches it."""
    made = Upstream()
    yield made
    made.close()


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    """moto, furnished."""
    made = Aws()
    made.furnish()
    yield made
    made.close()


@pytest.fixture(scope="module")
def gate(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway in front of it."""
    directory = tmp_path_factory.mktemp("gateway")
    with gateway(directory, aws.url, POLICY, access_request=f"'{ACCESS}'") as made:
        yield made


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=pytest.mark.long if kind in COMMAND_LINES else ()) for kind in agents.KINDS],
)
def agent(request: pytest.FixtureRequest, gate: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """Each kind of client, as `sluicegate run` starts it."""
    directory: Path = tmp_path_factory.mktemp("agent")
    with agents.agent_under_run(request.param, gate, directory) as made:
        yield made
