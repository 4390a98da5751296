"""Input members that hold secrets though botocore's models do not mark them `sensitive`, or mark them only lately.

Each row is read by hand: a service, an operation or "*", the end of the member's path (list and map steps left out),
and why. The candidates came from a search of every input shape for secret-like names; names, identifiers, ARNs and
URLs of secrets, pagination and lock tokens were left out.
"""

from collections import defaultdict
from functools import cache

_PASSWORD = "a password in clear text"  # noqa: S105
_TOKEN = "a credential that is valid as it stands"  # noqa: S105
_KEY = "a private or secret key"
_BOOT = "start-up scripts, which often hold credentials"
_ENVIRONMENT = "environment variables, which often hold credentials"

ROWS: tuple[tuple[str, str, str, str], ...] = (
    ("apigateway", "*", "certificatePrivateKey", _KEY),
    ("apigateway", "CreateApiKey", "value", _TOKEN),
    ("apigateway", "ImportApiKeys", "body", _TOKEN),
    ("appflow", "*", "apiToken", _TOKEN),
    ("appflow", "*", "credentialsMap", _TOKEN),
    ("appflow", "*", "refreshToken", _TOKEN),
    ("appflow", "*", "secretAccessKey", _KEY),
    ("apprunner", "*", "RuntimeEnvironmentVariables", _ENVIRONMENT),
    ("autoscaling", "*", "UserData", _BOOT),
    ("batch", "*", "environment.value", _ENVIRONMENT),
    ("cloudformation", "*", "ParameterValue", "NoEcho parameters; CloudTrail leaves the values out too"),
    ("cloudformation", "*", "BearerToken", _TOKEN),
    ("codebuild", "*", "environmentVariables.value", _ENVIRONMENT),
    ("codebuild", "*", "environmentVariablesOverride.value", _ENVIRONMENT),
    ("codebuild", "ImportSourceCredentials", "token", _TOKEN),
    ("codepipeline", "*", "SecretToken", _TOKEN),
    ("cognito-sync", "*", "Token", "a device's push token"),
    ("connect", "*", "DeviceToken", "a device's push token"),
    ("connectparticipant", "*", "ConnectionToken", _TOKEN),
    ("connectparticipant", "*", "ParticipantToken", _TOKEN),
    ("docdb", "*", "MasterUserPassword", _PASSWORD),
    ("ec2", "*", "UserData", _BOOT),
    ("ecs", "*", "environment.value", _ENVIRONMENT),
    ("elasticache", "*", "AuthToken", _PASSWORD),
    ("elasticbeanstalk", "*", "OptionSettings.Value", _ENVIRONMENT),
    ("elbv2", "*", "ClientSecret", _TOKEN),
    ("emr", "*", "ADDomainJoinPassword", _PASSWORD),
    ("emr", "*", "CrossRealmTrustPrincipalPassword", _PASSWORD),
    ("emr", "*", "KdcAdminPassword", _PASSWORD),
    ("firehose", "*", "HECToken", _TOKEN),
    ("glue", "*", "AuthToken", _TOKEN),
    ("glue", "*", "ConnectionProperties", "JDBC connections keep their password there"),
    ("grafana", "*", "grafanaToken", _TOKEN),
    ("iam", "*", "Password", _PASSWORD),
    ("iam", "*", "NewPassword", _PASSWORD),
    ("iam", "*", "OldPassword", _PASSWORD),
    ("iam", "*", "PrivateKey", _KEY),
    ("iam", "*", "AuthenticationCode1", "a one-time code"),
    ("iam", "*", "AuthenticationCode2", "a one-time code"),
    ("imagebuilder", "*", "userDataOverride", _BOOT),
    ("inspector2", "*", "sessionToken", _TOKEN),
    ("invoicing", "*", "ProcurementPortalSharedSecret", _TOKEN),
    ("iot", "TestInvokeAuthorizer", "password", _PASSWORD),
    ("iot", "TestInvokeAuthorizer", "token", _TOKEN),
    ("iot", "*", "salesforce.token", _TOKEN),
    ("lakeformation", "*", "SAMLAssertion", _TOKEN),
    ("lambda", "*", "Environment.Variables", _ENVIRONMENT),
    ("license-manager", "*", "Token", _TOKEN),
    ("lightsail", "*", "userData", _BOOT),
    ("mq", "*", "Password", _PASSWORD),
    ("mq", "*", "ServiceAccountPassword", _PASSWORD),
    ("neptune", "*", "MasterUserPassword", _PASSWORD),
    ("pinpoint", "*", "ApiKey", _TOKEN),
    ("pinpoint", "*", "ClientSecret", _TOKEN),
    ("pinpoint", "*", "Otp", "a one-time code"),
    ("pinpoint", "*", "PrivateKey", _KEY),
    ("pinpoint", "*", "SecretKey", _KEY),
    ("pinpoint", "*", "TokenKey", _KEY),
    ("rds", "*", "MasterUserPassword", _PASSWORD),
    ("redshift", "*", "HsmPartitionPassword", _PASSWORD),
    ("redshift", "*", "MasterUserPassword", _PASSWORD),
    ("s3", "*", "SSECustomerKey", "the object's own encryption key"),
    ("s3", "*", "CopySourceSSECustomerKey", "the source object's own encryption key"),
    ("secretsmanager", "*", "SecretString", "the secret itself"),
    ("secretsmanager", "*", "SecretBinary", "the secret itself"),
    ("securityhub", "*", "MasterUserPassword", _PASSWORD),
    ("securityhub", "*", "UserData", _BOOT),
    ("securitylake", "*", "authorizationApiKeyValue", _TOKEN),
    ("sns", "*", "OneTimePassword", "a one-time code"),
    ("sns", "*", "Token", "a confirmation or device token"),
    ("socialmessaging", "*", "accessToken", _TOKEN),
    ("ssm", "PutParameter", "Value", "SecureString parameters"),
    ("sts", "*", "SAMLAssertion", _TOKEN),
    ("sts", "*", "WebIdentityToken", _TOKEN),
    ("sts", "*", "ContextAssertion", _TOKEN),
    ("sts", "*", "TokenCode", "a one-time code"),
    ("taxsettings", "*", "taxDocumentAccessToken", _TOKEN),
    ("wafv2", "*", "APIKey", _TOKEN),
)


@cache
def _by_service() -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    found: dict[str, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
    for service, operation, member, _ in ROWS:
        found[service].append((operation, tuple(member.split("."))))
    return found


def endings(service: str, operation: str) -> tuple[tuple[str, ...], ...]:
    """The ends of member paths that are hidden in this operation's input."""
    return tuple(path for of, path in _by_service().get(service, ()) if of in ("*", operation))
