"""What a request says about its signature: in the Authorization header, or in the query of a presigned URL.

    Authorization: AWS4-HMAC-SHA256 Credential=<key>/<date>/<region>/<service>/aws4_request,
                   SignedHeaders=<names>, Signature=<hex>
    ?X-Amz-Algorithm=...&X-Amz-Credential=...&X-Amz-Date=...&X-Amz-Expires=...&X-Amz-SignedHeaders=...&X-Amz-Signature=...

SigV4a (AWS4-ECDSA-P256-SHA256) has no region in its credential, but X-Amz-Region-Set. Nothing is verified here. Every
other way of signing is refused with a text that says what to do. Sources: IAM User Guide, "Elements of an AWS API
request signature"; S3 API reference, "Authenticating Requests: Using Query Parameters".
"""

import re
from dataclasses import dataclass, replace
from urllib.parse import unquote_to_bytes

from addons.wire.canonical import S3_FAMILY, ByName, by_name
from addons.wire.message import Headers, HttpRequest

HMAC, ECDSA = "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"
LONGEST = 7 * 24 * 3600  # seconds that a presigned URL may be valid
_NAMES = r"[!#$%&'*+.^_`|~0-9a-z;-]{1,4096}"
_CREDENTIAL = r"([A-Za-z0-9_]{1,128})/([0-9]{8})/(?:([a-z0-9-]{1,64})/)?([A-Za-z0-9_.-]{1,64})/aws4_request"
_SIGNATURE = r"[0-9a-f]{64,144}"  # 64 digits of an HMAC; DER of a point's coordinates has up to 144
_HEADER = re.compile(
    rf"({HMAC}|{ECDSA}) +Credential={_CREDENTIAL}, *SignedHeaders=({_NAMES}), *Signature=({_SIGNATURE})"
)
_IN_QUERY = re.compile(_CREDENTIAL)
_SIGNED = re.compile(_NAMES)
_HEX = re.compile(_SIGNATURE)
_TIMESTAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SECONDS = re.compile(r"[1-9][0-9]{0,5}")
_REGIONS = re.compile(r"[a-z0-9*-]{1,64}(?:,[a-z0-9*-]{1,64}){0,31}")
_PARAMETERS = "Algorithm Credential Date Expires SignedHeaders Signature Security-Token Region-Set Content-Sha256"
QUERY = {f"x-amz-{name.lower()}": f"X-Amz-{name}" for name in _PARAMETERS.split()}
_VERSION_2 = frozenset({"awsaccesskeyid", "signatureversion"})
_MARKS = frozenset(QUERY) | _VERSION_2
_MAY_BE_MARKED = re.compile(r"[?&](?:x-amz-|aws|signature|[^=&]*%)", re.IGNORECASE)  # a quick look, for most queries
_PARAMETER = re.compile(r"x-amz-(?!s3session-token)[a-z0-9-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SIGN_IN = "Sign in with AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, and set no other credentials."


class SignatureRefused(Exception):
    """The request is not signed as it has to be. `code` is AWS's own, `message` says what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(slots=True)  # not frozen: one is made for every request, and that would take three times as long
class Authorization:
    """What a request says about its signature; nothing of it is verified yet."""

    access_key: str
    date: str  # of the credential scope, YYYYMMDD
    region: str  # of the scope; of SigV4a the region set: "*", or names with commas between
    service: str
    signed_headers: tuple[str, ...]  # as listed
    signature: str  # hexadecimal digits
    timestamp: str  # x-amz-date, YYYYMMDD'T'HHMMSS'Z'
    token: str | None  # x-amz-security-token
    algorithm: str = HMAC
    expires: int | None = None  # seconds that a presigned URL is valid; None: signed in the header
    payload: str | None = None  # X-Amz-Content-Sha256 where it stands in the query

    @property
    def scope(self) -> str:
        """The credential scope, as it is signed."""
        return scope(self.algorithm, self.date, self.region, self.service)


def scope(algorithm: str, date: str, region: str, service: str) -> str:
    """A credential scope as text: that of SigV4a names no region."""
    where = f"{region}/{service}" if algorithm == HMAC else service
    return f"{date}/{where}/aws4_request"


def parse_authorization(request: HttpRequest) -> Authorization:
    """Read a request's signature. Raises `SignatureRefused` where there is none, or of a kind that is not served."""
    headers = by_name(request.headers)
    if "x-amz-s3session-token" in headers:
        raise not_served("an S3 Express session", "Set AWS_S3_DISABLE_EXPRESS_SESSION_AUTH=true.")
    if presigned(request.target):
        if "authorization" in headers:
            raise SignatureRefused("IncompleteSignature", "signed twice: in the Authorization header and in the query.")
        return _of_query(request.target, headers)
    if "authorization" not in headers:
        if b"SignatureVersion=" in (request.body or b""):
            raise not_served("Signature Version 2", "Update the SDK: it must sign with Signature Version 4.")
        raise SignatureRefused("MissingAuthenticationToken", f"the request is not signed. {_SIGN_IN}")
    return _of_header(headers)


def presigned(target: str) -> bool:
    """Whether a request target has any part of a query signature, so that it is to be read as one or refused."""
    return _MAY_BE_MARKED.search(target) is not None and any(_name(pair) in _MARKS for pair in _pairs(target))


def of_header(headers: Headers) -> Authorization:
    """Read the Authorization header among these. Raises `SignatureRefused`."""
    return _of_header(by_name(headers))


def _of_header(headers: ByName) -> Authorization:
    header = _single(headers, "authorization")
    match = _HEADER.fullmatch(header or "")
    if match is None:
        raise _unread(header or "")
    algorithm, access_key, date, region, service, names, signature = match.groups()
    timestamp, region_set = _single(headers, "x-amz-date"), _single(headers, "x-amz-region-set")
    token = _single(headers, "x-amz-security-token")
    return _read(algorithm, (access_key, date, region, service), region_set, names, signature, timestamp, token)


def _read(
    algorithm: str,
    credential: tuple[str, str, str | None, str],
    region_set: str | None,
    names: str,
    signature: str,
    timestamp: str | None,
    token: str | None,
) -> Authorization:
    access_key, date, region, service = credential
    if timestamp is None or not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureRefused("IncompleteSignature", "x-amz-date must be there once, as YYYYMMDD'T'HHMMSS'Z'.")
    if algorithm == HMAC:
        if region is None or len(signature) != 64:
            raise SignatureRefused("IncompleteSignature", _FORM)
        if region_set is not None:
            raise SignatureRefused("IncompleteSignature", "x-amz-region-set belongs to Signature Version 4a.")
    else:
        if region is not None:
            raise SignatureRefused("IncompleteSignature", "the credential scope of Signature Version 4a has no region.")
        if region_set is None or not _REGIONS.fullmatch(region_set):
            raise SignatureRefused("IncompleteSignature", "x-amz-region-set must be there once, as names or *.")
        region = region_set
    signed = tuple(names.split(";"))
    return Authorization(access_key, date, region, service, signed, signature, timestamp, token, algorithm)


_FORM = "Authorization must be Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=..., Signature=..."


def _of_query(target: str, headers: ByName) -> Authorization:
    found: dict[str, str] = {}
    for pair in _pairs(target):
        name, _, value = pair.partition("=")
        key = _name(pair)
        if key in _VERSION_2:
            text = 'Set signature_version="s3v4" (boto3 Config): it makes presigned URLs too.'
            raise not_served("Signature Version 2", text)
        if key not in QUERY:
            continue
        if name != QUERY[key] or key in found:
            raise SignatureRefused("AuthorizationQueryParametersError", f"{QUERY[key]} must stand once, spelled so.")
        found[key] = _decoded(value)
    credential = _IN_QUERY.fullmatch(found.get("x-amz-credential", ""))
    algorithm, expires = found.get("x-amz-algorithm"), found.get("x-amz-expires", "")
    if algorithm not in (HMAC, ECDSA) or credential is None:
        raise SignatureRefused(
            "AuthorizationQueryParametersError", "X-Amz-Algorithm and X-Amz-Credential are no SigV4."
        )
    if not _SECONDS.fullmatch(expires) or int(expires) > LONGEST:
        text = f"X-Amz-Expires must be there, at most {LONGEST} seconds (7 days)."
        raise SignatureRefused("AuthorizationQueryParametersError", text)
    names, signature = found.get("x-amz-signedheaders", ""), found.get("x-amz-signature", "")
    if not (_SIGNED.fullmatch(names) and _HEX.fullmatch(signature)):
        raise SignatureRefused(
            "AuthorizationQueryParametersError", "X-Amz-SignedHeaders and X-Amz-Signature must both be there."
        )
    for name in headers.keys() & QUERY.keys():
        if name != "x-amz-content-sha256" or name in found:
            raise SignatureRefused("IncompleteSignature", f"{name} belongs in the query of a presigned URL.")
    parts = (credential[1], credential[2], credential[3], credential[4])
    region_set, date, token = (found.get(f"x-amz-{name}") for name in ("region-set", "date", "security-token"))
    read = _read(algorithm, parts, region_set, names, signature, date, token)
    read.expires, read.payload = int(expires), found.get("x-amz-content-sha256")
    return read


def in_headers(request: HttpRequest, authorization: Authorization) -> HttpRequest:
    """A presigned request as the same call with its signature in headers, to be decoded and signed anew from there.

    The parameters of the signature leave the query for the headers; so do other x-amz-* parameters, which S3 takes for
    headers: what is decided on is then what is sent. The Authorization header names the signed headers and is no valid
    signature. Raises `SignatureRefused` where a header would stand twice.
    """
    a = authorization
    headers, kept = list(request.headers), []
    names = {name.lower() for name, _ in headers}
    for pair in _pairs(request.target):
        key = _name(pair)
        if key in QUERY:
            continue
        if not key.startswith("x-amz-"):
            kept.append(pair)
            continue
        value = _decoded(pair.partition("=")[2])
        # Readers trim a header, and not a parameter: only what both read alike.
        if key in names or not _PARAMETER.fullmatch(key) or _CONTROL.search(value) or value != value.strip():
            raise SignatureRefused(
                "AuthorizationQueryParametersError", "an x-amz-* parameter stands twice, or is no header."
            )
        names.add(key)
        headers.append((key, value))
    if "x-amz-content-sha256" not in names and (a.payload or a.service in S3_FAMILY):
        headers.append(("X-Amz-Content-SHA256", a.payload or "UNSIGNED-PAYLOAD"))
    headers.append(("X-Amz-Date", a.timestamp))
    if a.algorithm == ECDSA:
        headers.append(("X-Amz-Region-Set", a.region))
    if a.token is not None:
        headers.append(("X-Amz-Security-Token", a.token))
    signed = f"SignedHeaders={';'.join(a.signed_headers)}, Signature={a.signature}"
    headers.append(("Authorization", f"{a.algorithm} Credential={a.access_key}/{a.scope}, {signed}"))
    path = request.target.partition("?")[0]
    return replace(request, target=path + ("?" + "&".join(kept) if kept else ""), headers=tuple(headers))


def _single(headers: ByName, name: str) -> str | None:
    """A header's only value, or None. Raises `SignatureRefused` where it stands twice."""
    values = headers.get(name)
    if values is None:
        return None
    if len(values) > 1:
        raise SignatureRefused("IncompleteSignature", f"the header {name} stands more than once.")
    return values[0]


def not_served(what: str, instead: str) -> SignatureRefused:
    """A refusal of a way of signing."""
    return SignatureRefused("IncompleteSignature", f"{what} is not served. {instead}")


def _pairs(target: str) -> list[str]:
    query = target.partition("?")[2]
    return query.split("&") if query else []


def _name(pair: str) -> str:
    """A parameter's name, decoded, in lower case."""
    return _decoded(pair.partition("=")[0]).lower()


def _decoded(text: str) -> str:
    if "%" not in text:
        return text
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _unread(header: str) -> SignatureRefused:
    scheme = header.split(" ", 1)[0]
    if scheme.lower() == "bearer":
        return not_served("a bearer token", "Unset AWS_BEARER_TOKEN_BEDROCK and set AWS_AUTH_SCHEME_PREFERENCE=sigv4.")
    if scheme in ("AWS", "AWS3", "AWS3-HTTPS"):
        return not_served("Signature Version 2", 'Set signature_version="s3v4" (boto3 Config), or update the SDK.')
    if scheme in (HMAC, ECDSA):
        return SignatureRefused("IncompleteSignature", _FORM)
    return SignatureRefused("IncompleteSignature", f"Authorization is of a kind that AWS does not know. {_SIGN_IN}")
