"""Small helpers: a rule set without a file, a decoded call, an answer, and botocore's own reading of it."""

from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser

from addons.wire.message import Decoded, HttpResponse, Protocol
from policy.redaction import RedactionRule, RuleSet, rule_set

KEY = b"0123456789abcdef0123456789abcdef"


class Case:
    """One operation with rules."""

    def __init__(self, service: str, operation: str, protocol: Protocol, *paths: str, mask: Any = "mask") -> None:
        self.rules: RuleSet = rule_set([RedactionRule(service, operation, path, mask) for path in paths])
        self.decoded = Decoded(
            candidates=((service, operation),),
            service=service,
            operation=operation,
            region="us-east-1",
            partition="aws",
            params={},
            protocol=protocol,
            signing_name=service,
            signing_region="us-east-1",
        )
        model = ServiceModel(Loader().load_service_model(service, "service-2"), service_name=service)
        self.shape = model.operation_model(operation).output_shape

    def parse(self, response: HttpResponse, shape: Any = None) -> Any:
        from botocore.awsrequest import HeadersDict

        parsed = create_parser(self.decoded.protocol).parse(
            {"body": response.body, "headers": HeadersDict(dict(response.headers)), "status_code": response.status},
            shape or self.shape,
        )
        parsed.pop("ResponseMetadata", None)
        return parsed


def answer(body: bytes, kind: str, *more: tuple[str, str], status: int = 200) -> HttpResponse:
    headers = (("Content-Type", kind), ("Content-Length", str(len(body))), ("x-amzn-RequestId", "r-1"), *more)
    return HttpResponse(status, headers, body)


@pytest.fixture
def key() -> bytes:
    return KEY
