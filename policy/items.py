"""What a call needs: the IAM actions and the resources that they act on, by the table and, for the hard cases, by hand.

Each item has a state. `exact`: from the table or from a rule below. `derived`: the table lacks the operation, so the
action has its name and the resource is not known. `unresolved`: the call can't be cut into items. Only an Allow that
spells out the action's name on every resource grants the last two.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from policy import fetched, s3, table
from policy.model import Item, Request

MISNOMERS: Mapping[str, str] = {
    "dynamodb:transactgetitems": "dynamodb:GetItem",
    "dynamodb:transactwriteitems": "dynamodb:PutItem, UpdateItem, DeleteItem and ConditionCheckItem",
    **table.misnomers(),
}  # names that no item has, because IAM calls it otherwise


def items(request: Request, service: str, operation: str) -> tuple[Item, ...]:
    """The items of a call read as one of its candidates. Never empty. Raises anything on parameters of a wrong type."""
    if (request.service, request.operation) != (service, operation):
        request = replace(request, service=service, operation=operation)
    row = table.rows(service).get(operation)
    if special := SPECIAL.get((service, operation)):
        found = tuple(special(request))
    elif row and service == "s3":
        found = tuple(s3.items(request, row))
    elif row:
        found = tuple(Item(row.action, resource, "exact") for resource in table.bind(row.template, request))
    else:
        found = (Item(f"{table.prefix(service)}:{operation}", "*", "derived"),)
    return (*found, *_passed_roles(request), *fetched.items(request)) if found else tuple(_unresolved(request))


def _unresolved(request: Request) -> Iterator[Item]:
    yield Item(f"{table.prefix(request.service)}:{request.operation}", "*", "unresolved")


# Roles that a call hands to a service

ROLE = re.compile(r"[Rr]ole(s|Arns?|ARNs?|Name)?$|^DeliverLogsPermissionArn$")
READ = ("Get", "List", "Describe", "BatchGet", "Head", "Query", "Scan", "Search")


def _passed_roles(request: Request) -> Iterator[Item]:
    """iam:PassRole for each top-level parameter named as a role, each role's ARN under such a name, at any depth, and
    for an instance profile anywhere. (Deeper down only ARNs count: a message's `role` is "user".)

    Source: IAM User Guide, "Granting a user permissions to pass a role to an AWS service". An instance profile's role
    is not in the call, so it is unknown.
    """
    if request.service in ("dynamodb", "iam", "s3", "sts") or request.operation.startswith(READ):
        return
    any_role = f"arn:{request.partition}:iam::*:role/*"
    for name, value in request.params.items():
        if ROLE.search(name) and isinstance(value, str) and value:
            named = any_role if value.startswith("arn:") else f"{any_role}{value}"
            yield Item("iam:PassRole", value if s3.is_role(value) else named, "exact")
        else:
            yield from (Item("iam:PassRole", role, "exact") for role in _roles(value, bool(ROLE.search(name))))
    if request.service in ("ec2", "autoscaling") and _has(
        request.params, ("IamInstanceProfile", "LaunchTemplate", "LaunchTemplateConfigs")
    ):
        yield Item("iam:PassRole", any_role, "exact")


def _roles(value: object, named: bool) -> Iterator[str]:
    """The roles' ARNs below a parameter; `named`: it has a role's name."""
    if isinstance(value, str):
        if named and s3.is_role(value):
            yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _roles(inner, bool(ROLE.search(name)))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _roles(inner, named)


def _has(value: object, names: tuple[str, ...]) -> bool:
    if isinstance(value, Mapping):
        return any(name in value for name in names) or any(_has(inner, names) for inner in value.values())
    return isinstance(value, (list, tuple)) and any(_has(inner, names) for inner in value)


# DynamoDB


def _table(request: Request, name: object) -> str:
    template = "arn:{partition}:dynamodb:{region}:{account}:table/{TableName}"
    return table.bind(template, replace(request, params={"TableName": name}))[0]


def _query(request: Request) -> Iterator[Item]:
    target, index = _table(request, request.params.get("TableName")), request.params.get("IndexName")
    yield Item(f"dynamodb:{request.operation}", f"{target}/index/{index}" if index else target, "exact")


def _batch(request: Request) -> Iterator[Item]:
    for name in request.params["RequestItems"]:
        yield Item(f"dynamodb:{request.operation}", _table(request, name), "exact")


TRANSACT = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "Get": "dynamodb:GetItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
}


def _transact(request: Request) -> Iterator[Item]:
    for entry in request.params["TransactItems"]:
        for verb, inner in entry.items():
            if verb not in TRANSACT:
                yield from _unresolved(request)
            else:
                yield Item(TRANSACT[verb], _table(request, inner.get("TableName")), "exact")


def _restore_table(request: Request) -> Iterator[Item]:
    """Both tables: the source by name, ARN or backup, and the target."""
    params, action = request.params, f"dynamodb:{request.operation}"
    for name in ("BackupArn", "SourceTableArn", "SourceTableName"):
        if params.get(name):
            yield Item(action, _table(request, params[name]), "exact")
    yield Item(action, _table(request, params.get("TargetTableName")), "exact")


# Lambda

FUNCTION = re.compile(
    r"(?:arn:(?P<partition>aws[a-z-]*)?:lambda:)?(?:(?P<region>[a-z]{2}(?:-[a-z]+)+-[0-9]+):)?(?:(?P<account>[0-9]{12}):)?"
    r"(?:function:)?(?P<name>[A-Za-z0-9_-]+)(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[A-Za-z0-9_-]+))?"
)  # as the pattern of the API's FunctionName: a name, a partial ARN or an ARN, each with or without a qualifier
QUALIFIED = {  # operations whose Qualifier is part of the resource
    "AddPermission",
    "DeleteProvisionedConcurrencyConfig",
    "GetFunction",
    "GetFunctionConfiguration",
    "GetFunctionUrlConfig",
    "GetPolicy",
    "GetProvisionedConcurrencyConfig",
    "Invoke",
    "InvokeWithResponseStream",
    "PutProvisionedConcurrencyConfig",
    "RemovePermission",
}


def _function(request: Request) -> Iterator[Item]:
    """The function, or its version or alias where the call names one."""
    given = request.params.get("FunctionName")
    action = table.rows("lambda")[request.operation].action
    if not isinstance(given, str) or not (found := FUNCTION.fullmatch(given)):
        yield Item(action, f"arn:{request.partition}:lambda:*:*:function:*", "exact")
        return
    place = f"{found['partition'] or request.partition}:lambda:{found['region'] or request.region or '*'}"
    target = f"arn:{place}:{found['account'] or request.account}:function:{found['name']}"
    qualifier = found["qualifier"] or (request.params.get("Qualifier") if request.operation in QUALIFIED else None)
    yield Item(action, f"{target}:{qualifier}" if qualifier else target, "exact")


def _function_code(request: Request) -> Iterator[Item]:
    """A function's code may come from a bucket, which Lambda reads with the caller's permissions."""
    yield from _function(request)
    code = request.params.get("Code") or request.params
    if code.get("S3Bucket"):
        action = "s3:GetObject" if code.get("S3ObjectVersion") is None else "s3:GetObjectVersion"
        yield Item(action, s3.resource(request, code["S3Bucket"], code.get("S3Key")), "exact")


# EC2

EC2_KINDS = {
    "acl": "network-acl",
    "eipalloc": "elastic-ip",
    "eni": "network-interface",
    "i": "instance",
    "igw": "internet-gateway",
    "key": "key-pair",
    "lt": "launch-template",
    "nat": "natgateway",
    "rtb": "route-table",
    "sg": "security-group",
    "subnet": "subnet",
    "vol": "volume",
    "vpc": "vpc",
    "vpce": "vpc-endpoint",
}


def _create_tags(request: Request) -> Iterator[Item]:
    """CreateTags and DeleteTags: identifiers of any kind, which their beginning tells."""
    for name in request.params["Resources"]:
        kind = EC2_KINDS.get(str(name).partition("-")[0])
        owner = f"{request.account}:{kind}" if kind else "*:*"  # images and snapshots have no account
        place = f"arn:{request.partition}:ec2:{request.region or '*'}"
        yield Item(f"ec2:{request.operation}", f"{place}:{owner}/{name}", "exact")


def _run_instances(request: Request) -> Iterator[Item]:
    """All kinds of resource that a launch touches; what a launch template or a default may hide is unknown.

    Source: Service Authorization Reference, "RunInstances"; EC2 User Guide, "Launch instances (RunInstances)".
    """
    params, place = request.params, f"arn:{request.partition}:ec2:{request.region or '*'}"

    def named(kind: str, value: object, owner: str = request.account) -> Item:
        return Item("ec2:RunInstances", f"{place}:{owner}:{kind}/{value or '*'}", "exact")

    cards = params.get("NetworkInterfaces") or []
    template = params.get("LaunchTemplate")
    groups = [*(params.get("SecurityGroupIds") or []), *(g for card in cards for g in card.get("Groups") or [])]
    subnets = [s for s in (params.get("SubnetId"), *(card.get("SubnetId") for card in cards)) if s]
    snapshots = [(disk.get("Ebs") or {}).get("SnapshotId") for disk in params.get("BlockDeviceMappings") or []]
    yield named("instance", None)
    yield named("volume", None)
    yield named("image", params.get("ImageId"), "")
    yield from (named("network-interface", card.get("NetworkInterfaceId")) for card in cards or [{}])
    yield from (named("subnet", subnet) for subnet in subnets or [None])
    yield from (
        named("security-group", group) for group in (groups if not params.get("SecurityGroups") else []) or [None]
    )
    yield from (named("snapshot", snapshot, "") for snapshot in snapshots if snapshot)
    if params.get("KeyName") or template:
        yield named("key-pair", params.get("KeyName"))
    if group := (params.get("Placement") or {}).get("GroupName"):
        yield named("placement-group", group)
    if template:
        yield named("launch-template", template.get("LaunchTemplateId"))
        yield named("snapshot", None, "")
        yield named("placement-group", None)
    if params.get("TagSpecifications") or template:
        yield Item("ec2:CreateTags", f"{place}:*:*/*", "exact")


# Secrets Manager, SSM, STS, IAM: a secret's ARN ends in six characters that its name does not tell

NAMED = "arn:{partition}:secretsmanager:{region}:{account}:secret:{SecretId}-??????"


def _secret(request: Request, name: object) -> Item:
    target = table.bind(NAMED, replace(request, params={"SecretId": name}))[0]
    return Item("secretsmanager:GetSecretValue", target, "exact")


def _batch_secrets(request: Request) -> Iterator[Item]:
    """Source: Secrets Manager API Reference, BatchGetSecretValue: GetSecretValue for each, ListSecrets with filters."""
    yield Item("secretsmanager:BatchGetSecretValue", "*", "exact")
    listed, filters = request.params.get("SecretIdList"), request.params.get("Filters")
    yield from (_secret(request, name) for name in listed or [None])
    if filters and listed:
        yield _secret(request, None)
    if filters:
        yield Item("secretsmanager:ListSecrets", "*", "exact")


REFERENCE = re.compile("aws/reference/secretsmanager/", re.IGNORECASE)


def _parameters(request: Request) -> Iterator[Item]:
    """SSM parameters, and the secret behind a name such as /aws/reference/secretsmanager/NAME."""
    row = table.rows("ssm")[request.operation]
    yield from (Item(row.action, resource, "exact") for resource in table.bind(row.template, request))
    for name in request.params.get("Names") or [request.params.get("Name")]:
        if found := REFERENCE.search(str(name)):
            secret, mark, _ = str(name)[found.end() :].partition(":")  # behind it a version or a staging label
            yield _secret(request, None if mark and secret.lower() == "arn" else secret)


def _anything(request: Request) -> Iterator[Item]:
    """Resources of more services than one, or such as only the service itself can tell: nothing is known of them."""
    yield Item(table.rows(request.service)[request.operation].action, table.UNKNOWN, "exact")


def _export_table(request: Request) -> Iterator[Item]:
    """DynamoDB writes to the bucket, anybody's, with the caller's permissions.

    Source: DynamoDB Developer Guide, "Requesting a table export in DynamoDB", permissions.
    """
    params, row = request.params, table.rows("dynamodb")[request.operation]
    yield from (Item(row.action, resource, "exact") for resource in table.bind(row.template, request))
    prefix = params.get("S3Prefix")
    yield Item("s3:PutObject", s3.resource(request, params.get("S3Bucket"), f"{prefix}/*" if prefix else "*"), "exact")


def _session_tags(request: Request) -> Iterator[Item]:
    """Calls for credentials: tags and a source identity are permissions of their own."""
    row = table.rows("sts")[request.operation]
    for target in table.bind(row.template, request):
        yield Item(row.action, target, "exact")
        if request.params.get("Tags"):
            yield Item("sts:TagSession", target, "exact")
        if request.params.get("SourceIdentity"):
            yield Item("sts:SetSourceIdentity", target, "exact")


def _instance_profile(request: Request) -> Iterator[Item]:
    row = table.rows("iam")[request.operation]
    yield from (Item(row.action, resource, "exact") for resource in table.bind(row.template, request))
    role = request.params.get("RoleName")
    yield Item("iam:PassRole", f"arn:{request.partition}:iam::{request.account}:role/*{role or ''}", "exact")


Special = Callable[[Request], Iterator[Item]]
SPECIAL: dict[tuple[str, str], Special] = {
    ("dynamodb", "Query"): _query,
    ("dynamodb", "Scan"): _query,
    ("dynamodb", "BatchGetItem"): _batch,
    ("dynamodb", "BatchWriteItem"): _batch,
    ("dynamodb", "TransactGetItems"): _transact,
    ("dynamodb", "TransactWriteItems"): _transact,
    ("dynamodb", "ExportTableToPointInTime"): _export_table,
    ("dynamodb", "RestoreTableFromBackup"): _restore_table,
    ("dynamodb", "RestoreTableToPointInTime"): _restore_table,
    # PartiQL needs a parser: a table's name in a string must not count. Until then nobody but the literal name grants.
    ("dynamodb", "ExecuteStatement"): _unresolved,
    ("dynamodb", "BatchExecuteStatement"): _unresolved,
    ("dynamodb", "ExecuteTransaction"): _unresolved,
    ("lambda", "CreateFunction"): _function_code,
    ("lambda", "UpdateFunctionCode"): _function_code,
    **{("s3", operation): s3.elsewhere for operation in s3.ELSEWHERE},
    ("ec2", "RunInstances"): _run_instances,
    ("ec2", "CreateTags"): _create_tags,
    ("ec2", "DeleteTags"): _create_tags,
    ("secretsmanager", "BatchGetSecretValue"): _batch_secrets,
    ("ssm", "GetParameter"): _parameters,
    ("ssm", "GetParameters"): _parameters,
    ("ssm", "GetParameterHistory"): _parameters,
    # These act on instances of EC2, too, by identifiers and by tags: resources of another service.
    ("ssm", "CreateAssociation"): _anything,
    ("ssm", "CreateAssociationBatch"): _anything,
    ("ssm", "SendCommand"): _anything,
    ("ssm", "StartAccessRequest"): _anything,
    ("ssm", "StartSession"): _anything,
    ("ssm", "UpdateAssociation"): _anything,
    ("sts", "AssumeRole"): _session_tags,
    ("sts", "AssumeRoleWithSAML"): _session_tags,
    ("sts", "AssumeRoleWithWebIdentity"): _session_tags,
    ("sts", "GetFederationToken"): _session_tags,
    ("iam", "AddRoleToInstanceProfile"): _instance_profile,
}
SPECIAL |= {
    ("lambda", operation): _function
    for operation, row in table.rows("lambda").items()
    if row.template.endswith("{FunctionName}") and ("lambda", operation) not in SPECIAL
}
