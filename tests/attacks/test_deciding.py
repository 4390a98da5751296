"""An agent that knows the policies: calls that name one thing and reach another. Beside each, one that is allowed."""

from pathlib import Path
from typing import Any

import pytest

from tests.policy.build import call, decide

POINT = "arn:aws:s3:eu-west-1:111122223333:accesspoint/ap"
LOGS = "arn:aws:logs:eu-west-1:111122223333:log-group"


def effect(folder: Path, statements: str, name: str, params: dict[str, Any], **more: Any) -> str:
    return decide(folder, statements, call(name, params, **more)).effect


class TestCopySource:
    POLICY = """
    {sid: a, effect: allow, actions: ["s3:GetObject", "s3:PutObject"], resources: ["*"]}
    {sid: d, effect: deny, actions: ["s3:GetObject"], resources: ["arn:aws:s3:::b/my key", "arn:aws:s3:::b/x"]}
    """

    @pytest.mark.parametrize(
        "source",
        [
            "b/my+key",  # S3 decodes it as a form does
            "b/x%3FversionId=1",  # a mark that is there only once the key is decoded
            "b/%ff",  # no UTF-8
            "b/k\u00e9",  # not encoded: whose encoding?
            "b--table-s3/k",  # S3 Tables: another service's action
        ],
    )
    def test_a_source_that_s3_may_decode_otherwise_is_refused(self, tmp_path: Path, source: str) -> None:
        params = {"Bucket": "mine", "Key": "k", "CopySource": source}
        assert effect(tmp_path, self.POLICY, "s3.CopyObject", params) == "deny"

    def test_a_plain_source_passes(self, tmp_path: Path) -> None:
        params = {"Bucket": "mine", "Key": "k", "CopySource": "b/my%2Bkey%20two?versionId=1"}
        allow = '{sid: a, effect: allow, actions: ["s3:GetObjectVersion", "s3:PutObject"], resources: ["*"]}'
        assert effect(tmp_path, allow, "s3.CopyObject", params) == "allow"


class TestBuckets:
    POLICY = """
    {sid: a, effect: allow, actions: ["s3:*"], resources: ["*"]}
    {sid: d, effect: deny, actions: ["s3:GetObject"], resources: ["arn:aws:s3:::secret/keys/*"]}
    """

    def test_a_deny_of_a_bucket_holds_behind_an_access_point(self, tmp_path: Path) -> None:
        assert effect(tmp_path, self.POLICY, "s3.GetObject", {"Bucket": POINT, "Key": "keys/1"}) == "deny"
        assert effect(tmp_path, self.POLICY, "s3.GetObject", {"Bucket": "b", "Key": "keys/1"}) == "allow"
        assert effect(tmp_path, self.POLICY, "s3.PutObject", {"Bucket": POINT, "Key": "keys/1"}) == "allow"

    def test_an_allow_of_an_access_point_still_suffices(self, tmp_path: Path) -> None:
        allow = f'{{sid: a, effect: allow, actions: ["s3:GetObject"], resources: ["{POINT}/object/*"]}}'
        assert effect(tmp_path, allow, "s3.GetObject", {"Bucket": POINT, "Key": "k"}) == "allow"
        bucket = '{sid: a, effect: allow, actions: ["s3:GetObject"], resources: ["arn:aws:s3:::*"]}'
        assert effect(tmp_path, bucket, "s3.GetObject", {"Bucket": POINT, "Key": "k"}) == "deny"

    def test_an_outposts_alias_is_no_bucket(self, tmp_path: Path) -> None:
        params = {"Bucket": "ap-o01ac5d28a6a232904e8xz5w8ijx1qzlbp3i3kuse10--op-s3", "Key": "keys/1"}
        assert effect(tmp_path, self.POLICY, "s3.GetObject", params) == "deny"

    def test_objects_of_s3_tables_are_not_s3s(self, tmp_path: Path) -> None:
        assert effect(tmp_path, self.POLICY, "s3.GetObject", {"Bucket": "63a8e430--table-s3", "Key": "k"}) == "deny"
        assert effect(tmp_path, self.POLICY, "s3.GetObject", {"Bucket": "63a8e430", "Key": "k"}) == "allow"


class TestTwoNames:
    """A call that names a thing twice: whichever AWS takes, the other was decided on."""

    def test_a_log_group(self, tmp_path: Path) -> None:
        allow = f'{{sid: a, effect: allow, actions: ["logs:FilterLogEvents"], resources: ["{LOGS}:mine:*"]}}'
        params = {"logGroupName": "mine"}
        assert effect(tmp_path, allow, "logs.FilterLogEvents", params) == "allow"
        assert effect(tmp_path, allow, "logs.FilterLogEvents", params | {"logGroupIdentifier": "other"}) == "deny"

    def test_a_stream(self, tmp_path: Path) -> None:
        arn = "arn:aws:kinesis:eu-west-1:111122223333:stream"
        allow = f'{{sid: a, effect: allow, actions: ["kinesis:GetShardIterator"], resources: ["{arn}/mine"]}}'
        params = {"StreamName": "mine", "ShardId": "0", "ShardIteratorType": "LATEST"}
        assert effect(tmp_path, allow, "kinesis.GetShardIterator", params) == "allow"
        assert effect(tmp_path, allow, "kinesis.GetShardIterator", params | {"StreamARN": f"{arn}/other"}) == "deny"

    def test_a_grant_of_another_key(self, tmp_path: Path) -> None:
        arn = "arn:aws:kms:eu-west-1:111122223333:key/1"
        allow = f'{{sid: a, effect: allow, actions: ["kms:RetireGrant"], resources: ["{arn}"]}}'
        assert effect(tmp_path, allow, "kms.RetireGrant", {"KeyId": arn, "GrantId": "g"}) == "allow"
        assert effect(tmp_path, allow, "kms.RetireGrant", {"KeyId": arn, "GrantToken": "t"}) == "deny"

    def test_secrets_listed_and_filtered(self, tmp_path: Path) -> None:
        secret = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:mine-??????"
        allow = f"""
        {{sid: a, effect: allow, actions: ["secretsmanager:BatchGetSecretValue"], resources: ["*"]}}
        {{sid: b, effect: allow, actions: ["secretsmanager:ListSecrets"], resources: ["*"]}}
        {{sid: c, effect: allow, actions: ["secretsmanager:GetSecretValue"], resources: ["{secret}"]}}
        """
        params: dict[str, Any] = {"SecretIdList": ["mine"]}
        assert effect(tmp_path, allow, "secretsmanager.BatchGetSecretValue", params) == "allow"
        params["Filters"] = [{"Key": "name", "Values": ["other"]}]
        assert effect(tmp_path, allow, "secretsmanager.BatchGetSecretValue", params) == "deny"


class TestOtherAccounts:
    def test_a_registry(self, tmp_path: Path) -> None:
        repository = "arn:aws:ecr:eu-west-1:111122223333:repository/app"
        allow = f'{{sid: a, effect: allow, actions: ["ecr:BatchGetImage"], resources: ["{repository}"]}}'
        params: dict[str, Any] = {"repositoryName": "app", "imageIds": []}
        assert effect(tmp_path, allow, "ecr.BatchGetImage", params | {"registryId": "111122223333"}) == "allow"
        assert effect(tmp_path, allow, "ecr.BatchGetImage", params | {"registryId": "999988887777"}) == "deny"

    def test_a_queue(self, tmp_path: Path) -> None:
        queue = "arn:aws:sqs:eu-west-1:111122223333:q"
        allow = f'{{sid: a, effect: allow, actions: ["sqs:GetQueueUrl"], resources: ["{queue}"]}}'
        assert effect(tmp_path, allow, "sqs.GetQueueUrl", {"QueueName": "q"}) == "allow"
        params = {"QueueName": "q", "QueueOwnerAWSAccountId": "999988887777"}
        assert effect(tmp_path, allow, "sqs.GetQueueUrl", params) == "deny"

    def test_a_table_is_exported_only_to_a_bucket_that_may_be_written(self, tmp_path: Path) -> None:
        table = "arn:aws:dynamodb:eu-west-1:111122223333:table/t"
        allow = f"""
        {{sid: a, effect: allow, actions: ["dynamodb:ExportTableToPointInTime"], resources: ["{table}"]}}
        {{sid: b, effect: allow, actions: ["s3:PutObject"], resources: ["arn:aws:s3:::mine/*"]}}
        """
        params = {"TableArn": table, "S3Bucket": "mine", "S3Prefix": "exports"}
        assert effect(tmp_path, allow, "dynamodb.ExportTableToPointInTime", params) == "allow"
        params["S3Bucket"] = "stranger"
        assert effect(tmp_path, allow, "dynamodb.ExportTableToPointInTime", params) == "deny"


class TestNamesThatAwsMayReadAsOthers:
    def deny(self, actions: str, resource: str) -> str:
        return f"""
        {{sid: a, effect: allow, actions: ["{actions}"], resources: ["*"]}}
        {{sid: d, effect: deny, actions: ["{actions}"], resources: ["{resource}"]}}
        """

    @pytest.mark.parametrize(
        "name",
        [
            "orders",
            "arn:aws:dynamodb:eu-west-1:111122223333:table/orders",
            "orders ",
            "\torders",
            "ARN:aws:dynamodb:eu-west-1:111122223333:table/orders",
            "arn:aws:dynamodb:::table/orders",
            "arn:aws:dynamodb:eu-west-1:111122223333:table/orders\n",
        ],
    )
    def test_a_table(self, tmp_path: Path, name: str) -> None:
        policy = self.deny("dynamodb:GetItem", "arn:aws:dynamodb:eu-west-1:111122223333:table/orders")
        assert effect(tmp_path, policy, "dynamodb.GetItem", {"TableName": name}) == "deny"
        assert effect(tmp_path, policy, "dynamodb.GetItem", {"TableName": "others"}) == "allow"

    @pytest.mark.parametrize("name", ["Admin", "ADMIN", "admin"])
    def test_iams_names_are_not_distinguished_by_case(self, tmp_path: Path, name: str) -> None:
        policy = self.deny("iam:DeleteRole", "arn:aws:iam::111122223333:role/Admin")
        assert effect(tmp_path, policy, "iam.DeleteRole", {"RoleName": name}) == "deny"
        assert effect(tmp_path, policy, "iam.DeleteRole", {"RoleName": "Other"}) == "allow"

    def test_an_allow_of_iams_is_compared_with_case(self, tmp_path: Path) -> None:
        allow = '{sid: a, effect: allow, actions: ["iam:CreateUser"], resources: ["arn:aws:iam::111122223333:user/a"]}'
        assert effect(tmp_path, allow, "iam.CreateUser", {"UserName": "a"}) == "allow"
        assert effect(tmp_path, allow, "iam.CreateUser", {"UserName": "A"}) == "deny"

    @pytest.mark.parametrize("operation", ["ssm.GetParameter", "ssm.GetParameterHistory"])
    @pytest.mark.parametrize("end", ["", ":AWSCURRENT", ":11111111-2222-3333-4444-555555555555"])
    @pytest.mark.parametrize("start", ["/aws/reference/secretsmanager/", "/AWS/Reference/SecretsManager/"])
    def test_a_secret_by_way_of_a_parameter(self, tmp_path: Path, operation: str, start: str, end: str) -> None:
        policy = """
        {sid: a, effect: allow, actions: ["ssm:*", "secretsmanager:*"], resources: ["*"]}
        {sid: d, effect: deny, actions: ["secretsmanager:GetSecretValue"],
         resources: ["arn:aws:secretsmanager:*:*:secret:db-??????"]}
        """.replace(",\n", ",")
        assert effect(tmp_path, policy, operation, {"Name": f"{start}db{end}"}) == "deny"
        assert effect(tmp_path, policy, operation, {"Name": f"{start}other{end}"}) == "allow"

    def test_a_name_longer_than_any_is_unknown(self, tmp_path: Path) -> None:
        policy = self.deny("dynamodb:GetItem", "arn:aws:dynamodb:*:*:table/orders")
        assert effect(tmp_path, policy, "dynamodb.GetItem", {"TableName": "*?" * 500_000}) == "deny"


class TestOtherServices:
    def test_a_command_reaches_instances(self, tmp_path: Path) -> None:
        policy = """
        {sid: a, effect: allow, actions: ["ssm:*"], resources: ["*"]}
        {sid: d, effect: deny, actions: ["ssm:SendCommand", "ssm:StartSession"],
         resources: ["arn:aws:ec2:*:*:instance/i-1"]}
        """.replace(",\n", ",")
        params = {"DocumentName": "AWS-RunShellScript", "Targets": [{"Key": "tag:a", "Values": ["b"]}]}
        assert effect(tmp_path, policy, "ssm.SendCommand", params) == "deny"
        assert effect(tmp_path, policy, "ssm.StartSession", {"Target": "i-1"}) == "deny"
        assert effect(tmp_path, policy, "ssm.GetDocument", {"Name": "d"}) == "allow"

    def test_a_log_query_names_its_groups_itself(self, tmp_path: Path) -> None:
        query = {"logGroupName": "mine", "queryString": "SOURCE logGroups(namePrefix: ['prod'])"}
        allow = f'{{sid: a, effect: allow, actions: ["logs:StartQuery"], resources: ["{LOGS}:mine:*"]}}'
        assert effect(tmp_path, allow, "logs.StartQuery", query) == "deny"
        allow = '{sid: a, effect: allow, actions: ["logs:StartQuery"], resources: ["arn:aws:logs:*:*:*"]}'
        assert effect(tmp_path, allow, "logs.StartQuery", query) == "allow"


class TestPassedRoles:
    ROLE = "arn:aws:iam::111122223333:role/admin"

    @pytest.mark.parametrize(
        ("name", "params"),
        [
            ("ecs.RunTask", {"taskDefinition": "t", "overrides": {"taskRoleArn": ROLE}}),
            ("events.PutTargets", {"Rule": "r", "Targets": [{"Id": "1", "Arn": "a", "RoleArn": ROLE}]}),
            ("batch.RegisterJobDefinition", {"containerProperties": {"jobRoleArn": ROLE}}),
            ("ssm.StartAutomationExecution", {"Parameters": {"AutomationAssumeRole": [ROLE]}}),
        ],
    )
    def test_a_role_deep_in_a_call_is_passed_too(self, tmp_path: Path, name: str, params: dict[str, Any]) -> None:
        action = name.replace(".", ":")
        allow = f'{{sid: a, effect: allow, actions: ["{action}"], resources: ["*"]}}'
        assert effect(tmp_path, allow, name, params) == "deny"
        allow += '\n{sid: b, effect: allow, actions: ["iam:PassRole"], resources: ["*"]}'
        assert effect(tmp_path, allow, name, params) == "allow"

    def test_the_role_of_a_message_is_none(self, tmp_path: Path) -> None:
        allow = '{sid: a, effect: allow, actions: ["bedrock:InvokeModel"], resources: ["*"]}'
        params = {"modelId": "m", "messages": [{"role": "user", "content": [{"text": "hello"}]}]}
        assert effect(tmp_path, allow, "bedrock-runtime.Converse", params) == "allow"


class TestReadsByAnotherService:
    """What a service reads for the caller with the caller's permissions."""

    INVOKE = '{sid: a, effect: allow, actions: ["bedrock:InvokeModel"], resources: ["*"]}'
    READ = '\n{sid: b, effect: allow, actions: ["s3:GetObject"], resources: ["arn:aws:s3:::mine/*"]}'

    @pytest.mark.parametrize("uri", ["s3://secret/a.pdf", "S3://mine/a.pdf", "s3://mine", "https://x"])
    def test_a_prompt_does_not_read_a_bucket_that_the_agent_may_not_read(self, tmp_path: Path, uri: str) -> None:
        def prompt(place: str) -> dict[str, Any]:
            document = {"name": "d", "format": "pdf", "source": {"s3Location": {"uri": place}}}
            return {"modelId": "m", "messages": [{"role": "user", "content": [{"document": document}]}]}

        assert effect(tmp_path, self.INVOKE, "bedrock-runtime.Converse", prompt("s3://mine/a.pdf")) == "deny"
        allow = self.INVOKE + self.READ
        assert effect(tmp_path, allow, "bedrock-runtime.Converse", prompt("s3://mine/a.pdf")) == "allow"
        assert effect(tmp_path, allow, "bedrock-runtime.Converse", prompt(uri)) == "deny"

    @pytest.mark.parametrize(
        "body",
        [
            b'{"source": {"s3Location": {"uri": "s3://secret/v.mp4"}}}',
            b'{"source": {"\\u0073\\u0033Location": {"uri": "\\u0073\\u0033://secret/v.mp4"}}}',
            b'{"a": {"s3Location": {"uri": "s3://secret/v"}}, "a": 1}',  # a key that stands twice
            b'{"a": s3Location}',  # no JSON
        ],
    )
    def test_nor_does_a_models_own_body(self, tmp_path: Path, body: bytes) -> None:
        allow = self.INVOKE + self.READ
        assert effect(tmp_path, allow, "bedrock-runtime.InvokeModel", {"modelId": "m", "body": body}) == "deny"
        mine = {"modelId": "m", "body": b'{"source": {"s3Location": {"uri": "s3://mine/v.mp4"}}, "text": "s3 \\u263a"}'}
        assert effect(tmp_path, allow, "bedrock-runtime.InvokeModel", mine) == "allow"
        plain = {"modelId": "m", "body": b'{"messages": [{"role": "user", "content": "list my s3://buckets"}]}'}
        assert effect(tmp_path, self.INVOKE, "bedrock-runtime.InvokeModel", plain) == "allow"

    def test_a_template_a_layer_and_an_import(self, tmp_path: Path) -> None:
        for name, params in (
            ("cloudformation.GetTemplateSummary", {"TemplateURL": "https://secret.s3.amazonaws.com/t"}),
            ("lambda.PublishLayerVersion", {"LayerName": "l", "Content": {"S3Bucket": "secret", "S3Key": "k"}}),
            ("dynamodb.ImportTable", {"S3BucketSource": {"S3Bucket": "secret"}}),
        ):
            allow = f'{{sid: a, effect: allow, actions: ["{name.replace(".", ":")}"], resources: ["*"]}}'
            assert effect(tmp_path, allow + self.READ, name, params) == "deny"
            allow += '\n{sid: b, effect: allow, actions: ["s3:GetObject"], resources: ["*"]}'
            assert effect(tmp_path, allow, name, params) == "allow"
