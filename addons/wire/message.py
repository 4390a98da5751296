"""HTTP messages and decoded calls as values: what the other rooms may know of the wire."""

from dataclasses import dataclass, field
from typing import Any, Literal

Protocol = Literal["query", "ec2", "json", "rest-json", "rest-xml", "smithy-rpc-v2-cbor", "smithy-rpc-v2-json"]
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request as received. Nothing is normalised but the host, so that what is decided is what is sent."""

    method: str
    host: str  # lower-cased name without port; CONNECT target, SNI and Host have been found equal
    target: str  # origin form, undecoded: path, then "?" and query where there is one
    headers: Headers  # in order, duplicates kept, names as received
    body: bytes | None = b""  # None while only the head has been read

    def all(self, name: str) -> list[str]:
        """Every value of a header, in order; names are compared without case."""
        wanted = name.lower()
        return [value for key, value in self.headers if key.lower() == wanted]

    def get(self, name: str) -> str | None:
        """The first value of a header, or None."""
        return next(iter(self.all(name)), None)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One answer, to be sent as it stands."""

    status: int
    headers: Headers
    body: bytes

    def get(self, name: str) -> str | None:
        """The first value of a header, or None."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A request as the AWS call that it is.

    `candidates` holds every (service, operation) that the request can't be told apart from, itself first: policy must
    allow each of them. `params` are Python values of the input shape: blobs are bytes, timestamps aware datetimes.
    """

    candidates: tuple[tuple[str, str], ...]
    service: str  # botocore's service name, "s3"
    operation: str  # "PutObject"
    region: str  # from the host, or the matched endpoint's for a global service, "us-east-1"
    partition: str  # "aws", "aws-cn", ...
    params: dict[str, Any]
    protocol: Protocol  # what the request speaks, not what the model prefers
    signing_name: str  # credential scope's service that the matched endpoint asks for
    signing_region: str  # "*": the region set of SigV4a, which alone the endpoint takes
    host_region: str | None = field(default=None)  # None: the host names no region
    host_account: str | None = field(default=None)  # where the host's first label is an account's (DynamoDB, Kinesis)
    unknown: tuple[str, ...] = ()  # "Structure.member" of what no model knows: left out of `params`, but sent


class Undecodable(Exception):
    """The request can't be read as exactly one AWS call. `hint` says what its sender may do."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
