"""Why a caller is refused, in AWS's own words: SDKs know these codes and raise their own errors for them.

Codes and statuses: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html#API_AssumeRoleWithWebIdentity_Errors
and https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
"""

STATUS = {
    "InvalidIdentityToken": 400,
    "ExpiredTokenException": 400,  # an OIDC token that ended
    "IDPCommunicationError": 400,
    "ValidationError": 400,
    "AccessDenied": 403,
    "ExpiredToken": 403,  # synthetic credentials that ended
    "InvalidClientTokenId": 403,
    "MissingAuthenticationToken": 403,
}


class Refused(Exception):
    """Who calls is not known or not welcome. The message is for the agent: it holds no secret and says what to do."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = STATUS.get(code, 403) if status is None else status
