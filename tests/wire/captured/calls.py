"""The calls whose requests were captured: service, operation, arguments.

Every protocol, and the values that encodings stumble over: blobs, times, reserved characters in paths and keys, lists,
maps, documents, unions. Nothing in here is real.
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/service/agent"
POLICY = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
HOSTILE = 'a+b=c&d; 50% "çédille" <x/> ☃'


class Call(NamedTuple):
    service: str
    operation: str
    params: dict[str, Any]


PACKAGES = {  # botocore's service -> the package @aws-sdk/client-..., where it has another name
    "apigateway": "api-gateway",
    "application-autoscaling": "application-auto-scaling",
    "autoscaling": "auto-scaling",
    "logs": "cloudwatch-logs",
    "cognito-idp": "cognito-identity-provider",
    "elbv2": "elastic-load-balancing-v2",
    "events": "eventbridge",
    "route53": "route-53",
    "s3control": "s3-control",
    "secretsmanager": "secrets-manager",
    "stepfunctions": "sfn",
}
CLI_ONLY_NAMES = {"s3": "s3api"}

CALLS = (
    Call("acm", "AddTagsToCertificate", {
        "CertificateArn": f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/12345678-1234-1234-1234-123456789012",
        "Tags": [{"Key": "owner", "Value": "a=b+c"}],
    }),
    Call("apigateway", "UpdateRestApi", {
        "restApiId": "a1b2c3",
        "patchOperations": [{"op": "replace", "path": "/name", "value": HOSTILE}],
    }),
    Call("application-autoscaling", "DescribeScalableTargets", {
        "ServiceNamespace": "ecs", "ResourceIds": ["service/one/two"], "MaxResults": 7,
    }),
    Call("autoscaling", "CreateOrUpdateTags", {
        "Tags": [{"ResourceId": "group", "ResourceType": "auto-scaling-group", "Key": "k", "Value": HOSTILE,
                  "PropagateAtLaunch": True}],
    }),
    Call("athena", "StartQueryExecution", {
        "QueryString": f"SELECT '{HOSTILE}'", "ClientRequestToken": "token-0123456789-0123456789-0123456789",
        "QueryExecutionContext": {"Database": "d"},
    }),
    Call("batch", "SubmitJob", {
        "jobName": "job", "jobQueue": "queue", "jobDefinition": "definition:1", "parameters": {"a b": HOSTILE},
        "containerOverrides": {"environment": [{"name": "N", "value": "v"}]},
    }),
    Call("cloudformation", "CreateStack", {
        "StackName": "stack", "TemplateBody": '{"Resources": {}}', "Capabilities": ["CAPABILITY_IAM"],
        "Parameters": [{"ParameterKey": "p", "ParameterValue": HOSTILE}], "DisableRollback": False,
    }),
    Call("cloudfront", "CreateInvalidation", {
        "DistributionId": "E1ABCDEFGHIJKL",
        "InvalidationBatch": {"Paths": {"Quantity": 2, "Items": ["/a/*", "/b & c<d>"]}, "CallerReference": "once"},
    }),
    Call("cloudtrail", "LookupEvents", {
        "LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "RunInstances"}], "StartTime": MOMENT,
        "MaxResults": 3,
    }),
    Call("cloudwatch", "PutMetricData", {
        "Namespace": "n/s", "MetricData": [{
            "MetricName": "m", "Timestamp": MOMENT, "Value": 1.5, "Unit": "Count",
            "Dimensions": [{"Name": "a", "Value": HOSTILE}],
        }],
    }),
    Call("cloudwatch", "DescribeAlarms", {"AlarmNames": ["one", "two"], "MaxRecords": 10}),
    Call("logs", "FilterLogEvents", {
        "logGroupName": "/aws/lambda/f", "startTime": 1767322000123, "filterPattern": HOSTILE,
    }),
    Call("codebuild", "BatchGetProjects", {"names": ["one", "two"]}),
    Call("cognito-idp", "AdminCreateUser", {
        "UserPoolId": "us-east-1_abcdef", "Username": "ada", "UserAttributes": [{"Name": "email", "Value": "a@b.c"}],
    }),
    Call("cognito-idp", "InitiateAuth", {
        "AuthFlow": "USER_PASSWORD_AUTH", "ClientId": "client", "AuthParameters": {"USERNAME": "a", "PASSWORD": "p"},
    }),
    Call("dynamodb", "PutItem", {
        "TableName": "orders",
        "Item": {
            "id": {"S": HOSTILE}, "n": {"N": "1.50"}, "b": {"B": b"\x00\xff"},
            "l": {"L": [{"BOOL": True}, {"NULL": True}]}, "m": {"M": {"x": {"SS": ["a", "b"]}}},
        },
        "ConditionExpression": "attribute_not_exists(id)",
    }),
    Call("dynamodb", "GetItem", {"TableName": "orders", "Key": {"id": {"S": "1"}}, "ConsistentRead": True}),
    Call("ec2", "DescribeInstances", {
        "Filters": [{"Name": "tag:Name", "Values": ["a b", "c"]}], "MaxResults": 50,
    }),
    Call("ec2", "RunInstances", {
        "ImageId": "ami-12345678", "MinCount": 1, "MaxCount": 2, "InstanceType": "t3.micro", "ClientToken": "once",
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "k", "Value": HOSTILE}]}],
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 8, "Encrypted": True}}],
    }),
    Call("ecr", "BatchGetImage", {"repositoryName": "a/b", "imageIds": [{"imageTag": "latest"}]}),
    Call("ecs", "UpdateService", {"cluster": "c", "service": "s", "desiredCount": 0, "forceNewDeployment": True}),
    Call("eks", "ListNodegroups", {"clusterName": "main", "maxResults": 5}),
    Call("elasticache", "DescribeCacheClusters", {"CacheClusterId": "c", "ShowCacheNodeInfo": True}),
    Call("elbv2", "DescribeTags", {
        "ResourceArns": [f"arn:aws:elasticloadbalancing:us-east-1:{ACCOUNT}:loadbalancer/app/a/0123456789abcdef"],
    }),
    Call("events", "PutEvents", {
        "Entries": [{"Time": MOMENT, "Source": "test", "DetailType": HOSTILE, "Detail": '{"a": 1}'}],
    }),
    Call("firehose", "PutRecord", {"DeliveryStreamName": "s", "Record": {"Data": b"\x00hello\xff"}}),
    Call("glue", "GetTables", {"DatabaseName": "d", "Expression": "o*"}),
    Call("iam", "CreateRole", {
        "RoleName": "agent", "Path": "/service/", "AssumeRolePolicyDocument": POLICY, "MaxSessionDuration": 3600,
        "Tags": [{"Key": "k", "Value": HOSTILE}],
    }),
    Call("iam", "ListUsers", {}),
    Call("kinesis", "PutRecord", {"StreamName": "s", "Data": b"\x00\x01", "PartitionKey": HOSTILE}),
    Call("kms", "Encrypt", {"KeyId": "alias/a", "Plaintext": b"secret \xff", "EncryptionContext": {"a": "b"}}),
    Call("lambda", "UpdateFunctionConfiguration", {
        "FunctionName": "f", "Timeout": 30, "Environment": {"Variables": {"A": HOSTILE}}, "Layers": [],
    }),
    Call("lambda", "ListTags", {"Resource": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"}),
    Call("lambda", "AddPermission", {
        "FunctionName": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f", "StatementId": "s",
        "Action": "lambda:InvokeFunction",
        "Principal": "s3.amazonaws.com", "Qualifier": "live",
    }),
    Call("organizations", "ListAccounts", {"MaxResults": 5}),
    Call("rds", "DescribeDBInstances", {"Filters": [{"Name": "engine", "Values": ["postgres"]}], "MaxRecords": 20}),
    Call("route53", "ChangeResourceRecordSets", {
        "HostedZoneId": "Z1ABC",
        "ChangeBatch": {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": {
            "Name": "a.example.com", "Type": "TXT", "TTL": 60, "ResourceRecords": [{"Value": '"a & b <c>"'}]}}]},
    }),
    Call("route53", "ListHostedZones", {"MaxItems": "5"}),
    Call("s3", "GetObject", {"Bucket": "example-bucket", "Key": "folder/a key+é&=?#.txt", "Range": "bytes=0-9"}),
    Call("s3", "HeadObject", {"Bucket": "example-bucket", "Key": "a//b/./c"}),
    Call("s3", "ListObjectsV2", {"Bucket": "example-bucket", "Prefix": HOSTILE, "Delimiter": "/", "MaxKeys": 9}),
    Call("s3", "PutBucketTagging", {
        "Bucket": "example.dotted.bucket", "Tagging": {"TagSet": [{"Key": "k", "Value": "a & <b>"}]},
    }),
    Call("s3", "DeleteObjects", {
        "Bucket": "example-bucket", "Delete": {"Objects": [{"Key": "a & b"}, {"Key": "<c>"}], "Quiet": True},
    }),
    Call("s3", "CopyObject", {
        "Bucket": "example-bucket", "Key": "copy", "CopySource": "other-bucket/a/key", "Metadata": {"owner": "ada"},
        "MetadataDirective": "REPLACE",
    }),
    Call("s3", "PutObject", {
        "Bucket": "example-bucket", "Key": "new object", "Body": b"hello \xff", "ContentType": "text/plain",
        "Metadata": {"a": "b"}, "Tagging": "k=v&l=w",
    }),
    Call("s3", "ListBuckets", {}),
    Call("s3control", "GetPublicAccessBlock", {"AccountId": ACCOUNT}),
    Call("secretsmanager", "CreateSecret", {
        "Name": "a/b", "SecretBinary": b"\x00secret", "ClientRequestToken": "12345678-1234-1234-1234-123456789012",
    }),
    Call("ses", "SendEmail", {
        "Source": "a@example.com", "Destination": {"ToAddresses": ["b@example.com", "c@example.com"]},
        "Message": {"Subject": {"Data": HOSTILE}, "Body": {"Text": {"Data": "one\ntwo"}}},
    }),
    Call("sesv2", "SendEmail", {
        "FromEmailAddress": "a@example.com", "Destination": {"ToAddresses": ["b@example.com"]},
        "Content": {"Raw": {"Data": b"From: a\r\n\r\n\xff"}},
    }),
    Call("stepfunctions", "StartExecution", {
        "stateMachineArn": f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:m", "input": '{"a": 1}', "name": "once",
    }),
    Call("sns", "Publish", {
        "TopicArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:t", "Message": HOSTILE,
        "MessageAttributes": {
            "a": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}, "b": {"DataType": "String", "StringValue": "x"},
        },
    }),
    Call("sqs", "ReceiveMessage", {
        "QueueUrl": f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/q", "MaxNumberOfMessages": 3, "WaitTimeSeconds": 1,
    }),
    Call("sqs", "SendMessageBatch", {
        "QueueUrl": f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/q",
        "Entries": [{"Id": "1", "MessageBody": HOSTILE, "DelaySeconds": 0}, {"Id": "2", "MessageBody": "b"}],
    }),
    Call("ssm", "PutParameter", {"Name": "/a/b", "Value": HOSTILE, "Type": "SecureString", "Overwrite": True}),
    Call("sts", "GetCallerIdentity", {}),
    Call("sts", "AssumeRole", {"RoleArn": ROLE, "RoleSessionName": "ada", "DurationSeconds": 900, "Policy": POLICY}),
    Call("wafv2", "ListWebACLs", {"Scope": "REGIONAL", "Limit": 5}),
)  # fmt: skip
