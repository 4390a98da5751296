"""The sign-in: sts:AssumeRoleWithWebIdentity, answered by the gateway itself and never sent to AWS.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html gives parameters, limits,
answer and errors. The answer holds sealed credentials; what it calls a role is one that the gateway's configuration
binds to the caller's groups. Whatever a caller asks for that we don't do (a session policy, an OAuth provider) is
refused, not ignored.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lxml import etree

from addons.identity.oidc import Claims, Verifier
from addons.identity.refusal import Refused
from addons.identity.sealed import KeyRing
from addons.identity.session import Session
from addons.wire.message import HttpResponse

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
_NSMAP: Any = {None: NAMESPACE}
SHORTEST = 20 * 60  # seconds: SDKs renew 15 minutes before the end, so shorter credentials are renewed at every call
_NARROWER = "what a session may do is what the policies of its groups say; leave it out"
UNSUPPORTED = {"Policy": _NARROWER, "PolicyArns": _NARROWER, "ProviderId": "it is for OAuth 2.0 tokens; leave it out"}
_ROLE = re.compile(r"arn:(aws[a-z-]*):iam::[0-9]{12}:role/(?:[!-.0-~]+/)*([\w+=,.@-]{1,64})", re.ASCII)
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)


def answer(
    params: Mapping[str, Any],
    *,
    verifier: Verifier,
    ring: KeyRing,
    roles_of: Callable[[tuple[str, ...]], set[str]],
    account: str,
    duration: int,
    now: float,
    request_id: str,
) -> tuple[HttpResponse, Session]:
    """STS's answer to a sign-in, and the session that it begins or renews.

    `params`: members of AssumeRoleWithWebIdentityRequest. `roles_of`: groups -> ARNs of roles. `account`: the 12
    digits of the account that calls really go to; SDKs take it from the answer for account-based endpoints, so it
    stands in the ARN whatever the role says. `duration`: seconds that credentials live at most. `now`: seconds since
    the epoch. Blocks while the issuer's keys are fetched. Raises `Refused`.
    """
    for name, why in UNSUPPORTED.items():
        if params.get(name) not in (None, []):
            raise Refused("ValidationError", f"{name} is not supported by this gateway: {why}.")
    role = _text(params, "RoleArn")
    label = _text(params, "RoleSessionName")
    token = token_of(params)
    if not _SESSION_NAME.fullmatch(label):
        raise Refused("ValidationError", r"RoleSessionName must be 2 to 64 characters of [\w+=,.@-].")
    if not (arn := _ROLE.fullmatch(role)) or len(role) > 2048:
        raise Refused("ValidationError", "RoleArn is no role ARN: arn:aws:iam::111122223333:role/NAME.")
    lifetime = _lifetime(params.get("DurationSeconds"), duration)
    claims = verifier.verify(token, now=now)
    if role not in roles_of(claims.groups):
        raise Refused(
            "AccessDenied",
            "Not authorized to perform sts:AssumeRoleWithWebIdentity: "
            f"no group of {claims.subject} has the role {role}.",
        )
    session = Session(
        id=session_id(claims),
        issuer=claims.issuer,
        subject=claims.subject,
        groups=claims.groups,
        role=role,
        label=label,
        token_id=claims.token_id,
        issued=int(now),
        expires=int(now) + lifetime,
        token_issued=claims.issued,
        claims=claims.named,
    )
    shown = f"arn:{arn[1]}:sts::{account}:assumed-role/{arn[2]}/{label}"
    keys = ring.seal(replace(session, groups=()))  # they are decided anew at each call, from the claims
    body = _document(session, claims, shown, keys, request_id)
    headers = (("content-type", "text/xml"), ("content-length", str(len(body))), ("x-amzn-requestid", request_id))
    return HttpResponse(200, headers, body), session


def token_of(params: Mapping[str, Any]) -> str:
    """The token of a sign-in. Raises `Refused`."""
    return _text(params, "WebIdentityToken")


def session_id(claims: Claims) -> str:
    """Issuer, subject and `sid` (else `jti`), hashed: the same for every sign-in with one token, however often."""
    kind, value = ("sid", claims.sid) if claims.sid is not None else ("jti", claims.token_id)
    parts = json.dumps([claims.issuer, claims.subject, kind, value]).encode()
    return hashlib.sha256(parts).hexdigest()[:32]


def _text(params: Mapping[str, Any], name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str) or not value:
        raise Refused("ValidationError", f"{name} is missing.")
    return value


def _lifetime(asked: object, longest: int) -> int:
    """Seconds that credentials live: what was asked for, but neither uselessly short nor longer than allowed."""
    if asked is None:
        return longest
    if not isinstance(asked, int) or isinstance(asked, bool):
        raise Refused("ValidationError", "DurationSeconds is no whole number.")
    return min(max(asked, SHORTEST), longest)


def _document(session: Session, claims: Claims, arn: str, keys: tuple[str, str, str], request_id: str) -> bytes:
    root = etree.Element(f"{{{NAMESPACE}}}AssumeRoleWithWebIdentityResponse", nsmap=_NSMAP)
    result = _put(root, "AssumeRoleWithWebIdentityResult")
    _put(result, "SubjectFromWebIdentityToken", session.subject)
    _put(result, "Audience", claims.audience)
    user = _put(result, "AssumedRoleUser")
    _put(user, "Arn", arn)
    _put(user, "AssumedRoleId", f"{_role_id(session.role)}:{session.label}")
    credentials = _put(result, "Credentials")
    for name, value in zip(("AccessKeyId", "SecretAccessKey", "SessionToken"), keys, strict=True):
        _put(credentials, name, value)
    _put(credentials, "Expiration", datetime.fromtimestamp(session.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    _put(result, "Provider", session.issuer)
    _put(_put(root, "ResponseMetadata"), "RequestId", request_id)
    return etree.tostring(root, encoding="utf-8", xml_declaration=True)


def _put(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")
    element.text = text
    return element


def _role_id(role: str) -> str:
    """AROA and 17 characters, as AWS's unique role ids; the same for a role at every gateway."""
    return "AROA" + base64.b32encode(hashlib.sha256(role.encode()).digest()).decode()[:17]
