"""What calls need, from decoded parameters.

Sources: AWS Service Authorization Reference, and the permissions section of each operation's API reference.
"""

from typing import Any

import pytest

from policy.items import SPECIAL, items
from tests.policy.build import call

DDB = "arn:aws:dynamodb:eu-west-1:111122223333:table"
FN = "arn:aws:lambda:eu-west-1:111122223333:function"
EC2 = "arn:aws:ec2:eu-west-1"
SECRETS = "arn:aws:secretsmanager:eu-west-1:111122223333:secret"
PARAM = "arn:aws:ssm:eu-west-1:111122223333:parameter"
IAM = "arn:aws:iam::111122223333"
ROLE = f"{IAM}:role/app"
POINT = "arn:aws:s3:eu-west-1:111122223333:accesspoint/ap"
S3: dict[str, Any] = {"Bucket": "b", "Key": "k"}
OBJECT = "arn:aws:s3:::b/k"


def needs(name: str, params: dict[str, Any], **more: Any) -> list[tuple[str, str]]:
    """The actions and resources of a call, all of them exact."""
    request = call(name, params, **more)
    found = items(request, request.service, request.operation)
    assert {item.state for item in found} == {"exact"}
    return [(item.action, item.resource) for item in found]


CASES: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    # s3: names
    ("s3.ListBuckets", {}, [("s3:ListAllMyBuckets", "*")]),
    ("s3.HeadBucket", {"Bucket": "b"}, [("s3:ListBucket", "arn:aws:s3:::b")]),
    ("s3.ListObjectsV2", {"Bucket": "b", "Prefix": "x"}, [("s3:ListBucket", "arn:aws:s3:::b")]),
    ("s3.ListObjectVersions", {"Bucket": "b"}, [("s3:ListBucketVersions", "arn:aws:s3:::b")]),
    ("s3.ListMultipartUploads", {"Bucket": "b"}, [("s3:ListBucketMultipartUploads", "arn:aws:s3:::b")]),
    ("s3.ListParts", S3 | {"UploadId": "u"}, [("s3:ListMultipartUploadParts", OBJECT)]),
    ("s3.HeadObject", S3, [("s3:GetObject", OBJECT)]),
    ("s3.GetObject", S3 | {"VersionId": "v"}, [("s3:GetObjectVersion", OBJECT)]),
    ("s3.HeadObject", S3 | {"VersionId": "null"}, [("s3:GetObjectVersion", OBJECT)]),
    ("s3.GetObjectTagging", S3 | {"VersionId": "v"}, [("s3:GetObjectVersionTagging", OBJECT)]),
    (
        "s3.GetObjectAttributes",
        S3 | {"VersionId": "v"},
        [("s3:GetObjectVersionAttributes", OBJECT), ("s3:GetObjectVersion", OBJECT)],
    ),
    ("s3.SelectObjectContent", S3, [("s3:GetObject", OBJECT)]),
    ("s3.UploadPart", S3 | {"UploadId": "u"}, [("s3:PutObject", OBJECT)]),
    ("s3.CompleteMultipartUpload", S3 | {"UploadId": "u"}, [("s3:PutObject", OBJECT)]),
    ("s3.GetBucketEncryption", {"Bucket": "b"}, [("s3:GetEncryptionConfiguration", "arn:aws:s3:::b")]),
    ("s3.DeleteBucketLifecycle", {"Bucket": "b"}, [("s3:PutLifecycleConfiguration", "arn:aws:s3:::b")]),
    ("s3.ListBucketInventoryConfigurations", {"Bucket": "b"}, [("s3:GetInventoryConfiguration", "arn:aws:s3:::b")]),
    ("s3.DeleteBucketInventoryConfiguration", {"Bucket": "b"}, [("s3:PutInventoryConfiguration", "arn:aws:s3:::b")]),
    ("s3.DeleteBucketCors", {"Bucket": "b"}, [("s3:PutBucketCORS", "arn:aws:s3:::b")]),
    ("s3.DeletePublicAccessBlock", {"Bucket": "b"}, [("s3:PutBucketPublicAccessBlock", "arn:aws:s3:::b")]),
    ("s3.GetObjectLockConfiguration", {"Bucket": "b"}, [("s3:GetBucketObjectLockConfiguration", "arn:aws:s3:::b")]),
    # s3: several actions
    (
        "s3.PutObject",
        S3
        | {"ACL": "public-read", "Tagging": "a=b", "ObjectLockMode": "GOVERNANCE", "ObjectLockLegalHoldStatus": "ON"},
        [
            (f"s3:{action}", OBJECT)
            for action in ("PutObject", "PutObjectAcl", "PutObjectTagging", "PutObjectRetention", "PutObjectLegalHold")
        ],
    ),
    ("s3.PutObject", S3 | {"GrantRead": "id=x"}, [("s3:PutObject", OBJECT), ("s3:PutObjectAcl", OBJECT)]),
    ("s3.DeleteObject", S3 | {"VersionId": "v"}, [("s3:DeleteObjectVersion", OBJECT)]),
    (
        "s3.DeleteObject",
        S3 | {"BypassGovernanceRetention": True},
        [("s3:DeleteObject", OBJECT), ("s3:BypassGovernanceRetention", OBJECT)],
    ),
    (
        "s3.DeleteObjects",
        {"Bucket": "b", "Delete": {"Objects": [{"Key": "1"}, {"Key": "2", "VersionId": "v"}]}},
        [("s3:DeleteObject", "arn:aws:s3:::b/1"), ("s3:DeleteObjectVersion", "arn:aws:s3:::b/2")],
    ),
    (
        "s3.CopyObject",
        S3 | {"CopySource": "/src/a%2Bb/c"},
        [("s3:PutObject", OBJECT), ("s3:GetObject", "arn:aws:s3:::src/a+b/c")],
    ),
    (
        "s3.CopyObject",
        S3 | {"CopySource": "src/x%3Fy?versionId=7", "TaggingDirective": "REPLACE"},
        [("s3:PutObject", OBJECT), ("s3:PutObjectTagging", OBJECT), ("s3:GetObjectVersion", "arn:aws:s3:::src/x?y")],
    ),
    (
        "s3.UploadPartCopy",
        S3 | {"CopySource": f"{POINT}/object/dir%2Fkey"},
        [("s3:PutObject", OBJECT), ("s3:GetObject", f"{POINT}/object/dir/key")],
    ),
    ("s3.GetObject", {"Bucket": POINT, "Key": "k"}, [("s3:GetObject", f"{POINT}/object/k")]),
    ("s3.ListObjectsV2", {"Bucket": POINT}, [("s3:ListBucket", POINT)]),
    ("s3.GetObject", {"Bucket": "x-abc-s3alias", "Key": "k"}, [("s3:GetObject", "arn:*:s3:*:*:*")]),
    ("s3.GetObject", {"Bucket": "arn:aws:sqs:eu-west-1:1:q", "Key": "k"}, [("s3:GetObject", "arn:*:*:*:*:*")]),
    (
        "s3.PutBucketReplication",
        {"Bucket": "b", "ReplicationConfiguration": {"Role": ROLE}},
        [("s3:PutReplicationConfiguration", "arn:aws:s3:::b"), ("iam:PassRole", ROLE)],
    ),
    (
        "s3.CreateBucket",
        {"Bucket": "b", "ACL": "public-read", "ObjectLockEnabledForBucket": True, "ObjectOwnership": "ObjectWriter"},
        [
            ("s3:CreateBucket", "arn:aws:s3:::b"),
            ("s3:PutBucketAcl", "arn:aws:s3:::b"),
            ("s3:PutBucketObjectLockConfiguration", "arn:aws:s3:::b"),
            ("s3:PutBucketVersioning", "arn:aws:s3:::b"),
            ("s3:PutBucketOwnershipControls", "arn:aws:s3:::b"),
        ],
    ),
    # dynamodb
    ("dynamodb.GetItem", {"TableName": "t"}, [("dynamodb:GetItem", f"{DDB}/t")]),
    ("dynamodb.GetItem", {"TableName": f"{DDB}/t"}, [("dynamodb:GetItem", f"{DDB}/t")]),
    ("dynamodb.GetItem", {"TableName": "arn:aws:s3:::t"}, [("dynamodb:GetItem", "arn:*:*:*:*:*")]),
    ("dynamodb.Query", {"TableName": "t", "IndexName": "i"}, [("dynamodb:Query", f"{DDB}/t/index/i")]),
    ("dynamodb.Scan", {"TableName": "t"}, [("dynamodb:Scan", f"{DDB}/t")]),
    (
        "dynamodb.BatchWriteItem",
        {"RequestItems": {"t": [], "arn:aws:dynamodb:eu-west-1:444455556666:table/u": []}},
        [
            ("dynamodb:BatchWriteItem", f"{DDB}/t"),
            ("dynamodb:BatchWriteItem", "arn:aws:dynamodb:eu-west-1:444455556666:table/u"),
        ],
    ),
    (
        "dynamodb.TransactWriteItems",
        {
            "TransactItems": [
                {"Put": {"TableName": "a"}},
                {"Update": {"TableName": "b"}},
                {"Delete": {"TableName": "c"}},
                {"ConditionCheck": {"TableName": "d"}},
            ]
        },
        [
            ("dynamodb:PutItem", f"{DDB}/a"),
            ("dynamodb:UpdateItem", f"{DDB}/b"),
            ("dynamodb:DeleteItem", f"{DDB}/c"),
            ("dynamodb:ConditionCheckItem", f"{DDB}/d"),
        ],
    ),
    ("dynamodb.TransactGetItems", {"TransactItems": [{"Get": {"TableName": "a"}}]}, [("dynamodb:GetItem", f"{DDB}/a")]),
    (
        "dynamodb.RestoreTableToPointInTime",
        {"SourceTableName": "a", "TargetTableName": "b"},
        [("dynamodb:RestoreTableToPointInTime", f"{DDB}/a"), ("dynamodb:RestoreTableToPointInTime", f"{DDB}/b")],
    ),
    # lambda: every form of a name
    ("lambda.Invoke", {"FunctionName": "f"}, [("lambda:InvokeFunction", f"{FN}:f")]),
    ("lambda.Invoke", {"FunctionName": "f:prod"}, [("lambda:InvokeFunction", f"{FN}:f:prod")]),
    ("lambda.Invoke", {"FunctionName": "f", "Qualifier": "3"}, [("lambda:InvokeFunction", f"{FN}:f:3")]),
    ("lambda.Invoke", {"FunctionName": f"{FN}:f"}, [("lambda:InvokeFunction", f"{FN}:f")]),
    ("lambda.Invoke", {"FunctionName": f"{FN}:f:$LATEST"}, [("lambda:InvokeFunction", f"{FN}:f:$LATEST")]),
    ("lambda.Invoke", {"FunctionName": "111122223333:function:f"}, [("lambda:InvokeFunction", f"{FN}:f")]),
    (
        "lambda.Invoke",
        {"FunctionName": "444455556666:f"},
        [("lambda:InvokeFunction", "arn:aws:lambda:eu-west-1:444455556666:function:f")],
    ),
    ("lambda.Invoke", {"FunctionName": "function:f"}, [("lambda:InvokeFunction", f"{FN}:f")]),
    ("lambda.Invoke", {"FunctionName": "a/b"}, [("lambda:InvokeFunction", "arn:aws:lambda:*:*:function:*")]),
    (
        "lambda.CreateFunction",
        {"FunctionName": "f", "Role": ROLE, "Code": {"S3Bucket": "b", "S3Key": "k"}},
        [("lambda:CreateFunction", f"{FN}:f"), ("s3:GetObject", OBJECT), ("iam:PassRole", ROLE)],
    ),
    ("lambda.UpdateFunctionConfiguration", {"FunctionName": "f"}, [("lambda:UpdateFunctionConfiguration", f"{FN}:f")]),
    (
        "lambda.UpdateFunctionConfiguration",
        {"FunctionName": "f", "Role": ROLE},
        [("lambda:UpdateFunctionConfiguration", f"{FN}:f"), ("iam:PassRole", ROLE)],
    ),
    # ec2
    ("ec2.DescribeInstances", {"InstanceIds": ["i-1"]}, [("ec2:DescribeInstances", "*")]),
    (
        "ec2.TerminateInstances",
        {"InstanceIds": ["i-1", "i-2"]},
        [
            ("ec2:TerminateInstances", f"{EC2}:111122223333:instance/i-1"),
            ("ec2:TerminateInstances", f"{EC2}:111122223333:instance/i-2"),
        ],
    ),
    ("ec2.TerminateInstances", {}, [("ec2:TerminateInstances", f"{EC2}:111122223333:instance/*")]),
    (
        "ec2.CreateTags",
        {"Resources": ["i-1", "ami-2", "snap-3"]},
        [
            ("ec2:CreateTags", f"{EC2}:111122223333:instance/i-1"),
            ("ec2:CreateTags", f"{EC2}:*:*/ami-2"),
            ("ec2:CreateTags", f"{EC2}:*:*/snap-3"),
        ],
    ),
    (
        "ec2.RunInstances",
        {
            "ImageId": "ami-1",
            "SecurityGroupIds": ["sg-1"],
            "NetworkInterfaces": [{"SubnetId": "subnet-2", "Groups": ["sg-2"]}],
            "BlockDeviceMappings": [{"Ebs": {"SnapshotId": "snap-1"}}],
            "KeyName": "key",
            "TagSpecifications": [{"ResourceType": "instance"}],
            "IamInstanceProfile": {"Name": "p"},
        },
        [
            ("ec2:RunInstances", f"{EC2}:111122223333:instance/*"),
            ("ec2:RunInstances", f"{EC2}:111122223333:volume/*"),
            ("ec2:RunInstances", f"{EC2}::image/ami-1"),
            ("ec2:RunInstances", f"{EC2}:111122223333:network-interface/*"),
            ("ec2:RunInstances", f"{EC2}:111122223333:subnet/subnet-2"),
            ("ec2:RunInstances", f"{EC2}:111122223333:security-group/sg-1"),
            ("ec2:RunInstances", f"{EC2}:111122223333:security-group/sg-2"),
            ("ec2:RunInstances", f"{EC2}::snapshot/snap-1"),
            ("ec2:RunInstances", f"{EC2}:111122223333:key-pair/key"),
            ("ec2:CreateTags", f"{EC2}:*:*/*"),
            ("iam:PassRole", "arn:aws:iam::*:role/*"),
        ],
    ),
    # secretsmanager, ssm: a secret's ARN ends in six characters that its name does not tell
    ("secretsmanager.GetSecretValue", {"SecretId": "db"}, [("secretsmanager:GetSecretValue", f"{SECRETS}:db-??????")]),
    (
        "secretsmanager.GetSecretValue",
        {"SecretId": f"{SECRETS}:db-AbCdEf"},
        [("secretsmanager:GetSecretValue", f"{SECRETS}:db-AbCdEf")],
    ),
    (
        "secretsmanager.GetSecretValue",
        {"SecretId": f"{SECRETS}:db"},
        [("secretsmanager:GetSecretValue", f"{SECRETS}:db-??????")],
    ),
    (
        "secretsmanager.BatchGetSecretValue",
        {"SecretIdList": ["a", "b"]},
        [
            ("secretsmanager:BatchGetSecretValue", "*"),
            ("secretsmanager:GetSecretValue", f"{SECRETS}:a-??????"),
            ("secretsmanager:GetSecretValue", f"{SECRETS}:b-??????"),
        ],
    ),
    (
        "secretsmanager.BatchGetSecretValue",
        {"Filters": [{"Key": "name", "Values": ["a"]}]},
        [
            ("secretsmanager:BatchGetSecretValue", "*"),
            ("secretsmanager:GetSecretValue", f"{SECRETS}:*-??????"),
            ("secretsmanager:ListSecrets", "*"),
        ],
    ),
    ("ssm.GetParameter", {"Name": "/db/password:3"}, [("ssm:GetParameter", f"{PARAM}/db/password")]),
    ("ssm.GetParameter", {"Name": "plain"}, [("ssm:GetParameter", f"{PARAM}/plain")]),
    ("ssm.GetParameter", {"Name": f"{PARAM}/db/password:3"}, [("ssm:GetParameter", f"{PARAM}/db/password")]),
    (
        "ssm.GetParameters",
        {"Names": ["/a", "b"]},
        [("ssm:GetParameters", f"{PARAM}/a"), ("ssm:GetParameters", f"{PARAM}/b")],
    ),
    ("ssm.GetParametersByPath", {"Path": "/app/"}, [("ssm:GetParametersByPath", f"{PARAM}/app/*")]),
    ("ssm.GetParametersByPath", {"Path": "/"}, [("ssm:GetParametersByPath", f"{PARAM}/*")]),
    (
        "ssm.GetParameter",
        {"Name": "/aws/reference/secretsmanager/db", "WithDecryption": True},
        [
            ("ssm:GetParameter", f"{PARAM}/aws/reference/secretsmanager/db"),
            ("secretsmanager:GetSecretValue", f"{SECRETS}:db-??????"),
        ],
    ),
    # sts, iam
    ("sts.GetCallerIdentity", {}, [("sts:GetCallerIdentity", "*")]),
    (
        "sts.AssumeRole",
        {"RoleArn": ROLE, "Tags": [{"Key": "a"}], "SourceIdentity": "s"},
        [("sts:AssumeRole", ROLE), ("sts:TagSession", ROLE), ("sts:SetSourceIdentity", ROLE)],
    ),
    ("iam.GetRole", {"RoleName": "app"}, [("iam:GetRole", f"{IAM}:role/*app")]),  # its path is not in the call
    ("iam.CreateRole", {"RoleName": "app", "Path": "/team/"}, [("iam:CreateRole", f"{IAM}:role/team/app")]),
    ("iam.CreateUser", {"UserName": "u"}, [("iam:CreateUser", f"{IAM}:user/u")]),
    ("iam.CreateAccessKey", {}, [("iam:CreateAccessKey", f"{IAM}:user/*")]),
    ("iam.GetPolicy", {"PolicyArn": "arn:aws:iam::aws:policy/X"}, [("iam:GetPolicy", "arn:aws:iam::aws:policy/X")]),
    (
        "iam.AddRoleToInstanceProfile",
        {"InstanceProfileName": "p", "RoleName": "app"},
        [("iam:AddRoleToInstanceProfile", f"{IAM}:instance-profile/*p"), ("iam:PassRole", f"{IAM}:role/*app")],
    ),
    # others
    (
        "sqs.SendMessageBatch",
        {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/444455556666/q"},
        [("sqs:SendMessage", "arn:aws:sqs:eu-west-1:444455556666:q")],
    ),
    ("sqs.SendMessage", {"QueueUrl": "q"}, [("sqs:SendMessage", "arn:aws:sqs:eu-west-1:*:*")]),
    ("kms.Decrypt", {"KeyId": "alias/x"}, [("kms:Decrypt", "arn:aws:kms:eu-west-1:111122223333:key/*")]),
    ("kms.Decrypt", {}, [("kms:Decrypt", "arn:aws:kms:eu-west-1:111122223333:key/*")]),
    ("bedrock-runtime.Converse", {"modelId": "m"}, [("bedrock:InvokeModel", "arn:aws:bedrock:*:*:*")]),
]


@pytest.mark.parametrize(("name", "params", "expected"), CASES)
def test_a_call_needs_these_actions_on_these_resources(
    name: str, params: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert needs(name, params) == expected


def test_a_launch_template_hides_what_it_brings() -> None:
    found = needs("ec2.RunInstances", {"LaunchTemplate": {"LaunchTemplateName": "x"}})
    for kind in ("launch-template", "key-pair", "subnet", "security-group", "placement-group"):
        assert ("ec2:RunInstances", f"{EC2}:111122223333:{kind}/*") in found
    assert ("ec2:RunInstances", f"{EC2}::image/*") in found
    assert ("ec2:CreateTags", f"{EC2}:*:*/*") in found
    assert ("iam:PassRole", "arn:aws:iam::*:role/*") in found


@pytest.mark.parametrize(
    ("name", "params", "action", "state"),
    [
        ("dynamodb.ExecuteStatement", {"Statement": "SELECT * FROM t"}, "dynamodb:ExecuteStatement", "unresolved"),
        ("dynamodb.TransactWriteItems", {"TransactItems": []}, "dynamodb:TransactWriteItems", "unresolved"),
        ("dynamodb.TransactWriteItems", {"TransactItems": [{"New": {}}]}, "dynamodb:TransactWriteItems", "unresolved"),
        ("dynamodb.BatchGetItem", {"RequestItems": {}}, "dynamodb:BatchGetItem", "unresolved"),
        ("s3.DeleteObjects", {"Bucket": "b", "Delete": {"Objects": []}}, "s3:DeleteObjects", "unresolved"),
        ("s3.GetObject", {"Bucket": "b--euw1-az1--x-s3", "Key": "k"}, "s3express:CreateSession", "unresolved"),
        ("s3.DeleteBucket", {"Bucket": "b--euw1-az1--x-s3"}, "s3express:DeleteBucket", "unresolved"),
        ("s3.ListDirectoryBuckets", {}, "s3express:ListAllMyDirectoryBuckets", "unresolved"),
        ("s3.CreateSession", {"Bucket": "b"}, "s3express:CreateSession", "unresolved"),
        ("glue.GetJob", {"JobName": "j"}, "glue:GetJob", "derived"),
        ("cloudwatch.PutMetricAlarm", {}, "cloudwatch:PutMetricAlarm", "derived"),
        ("s3.NoSuchOperation", {}, "s3:NoSuchOperation", "derived"),
        ("no-such-service.Get", {}, "no-such-service:Get", "derived"),
    ],
)
def test_what_cannot_be_resolved_says_so(name: str, params: dict[str, Any], action: str, state: str) -> None:
    request = call(name, params)
    (item,) = items(request, request.service, request.operation)
    assert (item.action, item.resource, item.state) == (action, "*", state)


@pytest.mark.parametrize(
    "source", [None, "", "bucket-only", "b/k?other=1", "/", "arn:aws:s3:eu-west-1:1:accesspoint/a"]
)
def test_a_copy_source_that_cannot_be_read_is_unresolved(source: str | None) -> None:
    request = call("s3.CopyObject", S3 | {"CopySource": source})
    assert "unresolved" in {item.state for item in items(request, "s3", "CopyObject")}


def test_partition_region_and_account_are_those_of_the_signer() -> None:
    more = {"partition": "aws-cn", "region": "cn-north-1", "account": "444455556666"}
    assert needs("s3.GetObject", S3, **more) == [("s3:GetObject", "arn:aws-cn:s3:::b/k")]
    assert needs("dynamodb.GetItem", {"TableName": "t"}, **more) == [
        ("dynamodb:GetItem", "arn:aws-cn:dynamodb:cn-north-1:444455556666:table/t")
    ]
    assert needs("dynamodb.GetItem", {"TableName": "t"}, region="") == [
        ("dynamodb:GetItem", "arn:aws:dynamodb:*:111122223333:table/t")
    ]


def test_the_candidate_not_the_first_reading_names_the_action() -> None:
    request = call("dynamodb.Query", {"TableName": "t"})
    assert items(request, "dynamodb", "Scan")[0].action == "dynamodb:Scan"


def test_hard_cases_are_operations_that_exist() -> None:
    from policy import models

    assert all(operation in models.operations(service) for service, operation in SPECIAL)
