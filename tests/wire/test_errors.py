"""Refusals as botocore's own parsers read them, and as a real client raises them."""

import json
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import botocore.parsers
import botocore.session
import cbor2
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from addons.wire import models
from addons.wire.errors import refusal
from addons.wire.message import Decoded, Headers, HttpRequest, HttpResponse

MESSAGE = 'sluicegate: rule "no-deletes" & <you> said no — ask in #platform.'
REQUEST_ID = "0192f3a4-0000-7000-8000-000000000001"

# service, operation, protocol, headers, host, the code that AWS itself uses there
CASES: dict[str, tuple[str, str, str, dict[str, str], str, str]] = {
    "query": ("iam", "ListUsers", "query", {"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
              "iam.amazonaws.com", "AccessDenied"),
    "ec2": ("ec2", "DescribeInstances", "ec2", {"content-type": "application/x-www-form-urlencoded"},
            "ec2.us-east-1.amazonaws.com", "UnauthorizedOperation"),
    "json 1.0": ("dynamodb", "ListTables", "json",
                 {"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.ListTables"},
                 "dynamodb.us-east-1.amazonaws.com", "AccessDeniedException"),
    "json 1.1": ("secretsmanager", "ListSecrets", "json",
                 {"content-type": "application/x-amz-json-1.1", "x-amz-target": "secretsmanager.ListSecrets"},
                 "secretsmanager.us-east-1.amazonaws.com", "AccessDeniedException"),
    "rest-json": ("lambda", "ListFunctions", "rest-json", {}, "lambda.us-east-1.amazonaws.com",
                  "AccessDeniedException"),
    "rest-xml": ("cloudfront", "ListDistributions", "rest-xml", {}, "cloudfront.amazonaws.com",
                 "AccessDenied"),
    "s3": ("s3", "GetObject", "rest-xml", {}, "bucket.s3.us-east-1.amazonaws.com", "AccessDenied"),
    "s3control": ("s3control", "ListJobs", "rest-xml", {}, "111122223333.s3-control.us-east-1.amazonaws.com",
                  "AccessDenied"),
    "cbor": ("cloudwatch", "ListMetrics", "smithy-rpc-v2-cbor",
             {"content-type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"},
             "monitoring.us-east-1.amazonaws.com", "AccessDenied"),
    "query-compatible": ("sqs", "ListQueues", "json",
                         {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.ListQueues",
                          "x-amzn-query-mode": "true"}, "sqs.us-east-1.amazonaws.com", "AccessDenied"),
}  # fmt: skip


def request_of(headers: dict[str, str], host: str, method: str = "POST", target: str = "/") -> HttpRequest:
    return HttpRequest(method, host, target, tuple(headers.items()), b"")


def decoded_of(service: str, operation: str, protocol: str) -> Decoded:
    return Decoded(
        candidates=((service, operation),), service=service, operation=operation, region="us-east-1", partition="aws",
        params={}, protocol=protocol, signing_name=service, signing_region="us-east-1",  # type: ignore[arg-type]
    )  # fmt: skip


def parsed(response: HttpResponse, service: str, operation: str, protocol: str) -> dict[str, Any]:
    """The answer as botocore's parser for that protocol reads it."""
    parser = botocore.parsers.create_parser(protocol)
    model = models.operation_model(service, operation)
    headers = botocore.awsrequest.HTTPHeaders()
    for name, value in response.headers:
        headers[name] = value
    answer = {"status_code": response.status, "headers": headers, "body": response.body}
    found: dict[str, Any] = parser.parse(answer | {"context": {"operation_name": operation}}, model.output_shape)
    return found


@pytest.mark.parametrize("known", [True, False], ids=["decoded", "not decoded"])
@pytest.mark.parametrize("name", CASES)
def test_botocores_parser_reads_code_message_and_request_id(name: str, known: bool) -> None:
    service, operation, protocol, headers, host, code = CASES[name]
    decoded = decoded_of(service, operation, protocol) if known else None
    response = refusal(request_of(headers, host), "AccessDenied", MESSAGE, request_id=REQUEST_ID, decoded=decoded)
    found = parsed(response, service, operation, protocol)
    if name == "cbor" and not known:
        code = "AccessDeniedException"  # only the model says that CloudWatch had another code in query
    assert (found["Error"]["Code"], found["Error"]["Message"]) == (code, MESSAGE)
    assert found["ResponseMetadata"]["RequestId"] == REQUEST_ID
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert response.get("content-length") == str(len(response.body))


class Server:
    """Answers every request by a function, and counts."""

    def __init__(self) -> None:
        self.answer: Callable[[HttpRequest], HttpResponse] = lambda request: HttpResponse(500, (), b"")
        self.seen: list[HttpRequest] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers: Headers = tuple(self.headers.items())
                outer.seen.append(HttpRequest(self.command, "127.0.0.1", self.path, headers, body))
                response = outer.answer(outer.seen[-1])
                self.send_response_only(response.status)
                for name, value in response.headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(response.body)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = any

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def client(self, service: str) -> Any:
        session = botocore.session.Session()
        session.set_credentials("AKIDEXAMPLE", "secret")
        config = Config(s3={"addressing_style": "path"}, retries={"mode": "standard", "total_max_attempts": 3})
        address = f"127.0.0.1:{self.http.server_address[1]}"
        client = session.create_client(
            service, region_name="us-east-1", endpoint_url=f"http://{address}", config=config
        )  # fmt: skip

        def without_host_labels(request: Any, **_: Any) -> None:  # s3control puts the account in front
            request.url = f"http://{address}{request.url.partition(address)[2]}"

        client.meta.events.register("before-send", without_host_labels)
        return client


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.mark.parametrize("name", [name for name in CASES if name != "cbor"])  # which the next test asks
def test_a_real_client_raises_our_code_and_message_after_one_attempt(server: Server, name: str) -> None:
    service, operation, protocol, _, host, code = CASES[name]

    def answer(request: HttpRequest) -> HttpResponse:
        received = HttpRequest(request.method, host, request.target, request.headers, request.body)
        decoded = decoded_of(service, operation, protocol)
        return refusal(received, "AccessDenied", MESSAGE, request_id=REQUEST_ID, decoded=decoded)

    server.answer, server.seen = answer, []
    arguments = {"GetObject": {"Bucket": "b", "Key": "k"}, "ListJobs": {"AccountId": "111122223333"}}.get(operation, {})
    client = server.client(service)
    with pytest.raises(ClientError) as caught:
        client._make_api_call(operation, arguments)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["Error"]["Message"] == MESSAGE
    assert caught.value.response["ResponseMetadata"]["RequestId"] == REQUEST_ID
    assert len(server.seen) == 1


def test_a_client_that_speaks_cbor_raises_our_code_after_one_attempt(server: Server) -> None:
    service = "cloudwatchomni"
    if service not in models.services():
        pytest.skip("this botocore has no service that speaks CBOR by itself")
    model = models.service_model(service)
    operation = next(
        name for name in model.operation_names
        if not (shape := model.operation_model(name).input_shape) or not shape.required_members
    )  # fmt: skip
    server.answer = lambda request: refusal(request, "AccessDenied", MESSAGE, request_id=REQUEST_ID)
    server.seen = []
    with pytest.raises(ClientError) as caught:
        server.client(service)._make_api_call(operation, {})
    assert caught.value.response["Error"] == {"Code": "AccessDeniedException", "Message": MESSAGE}
    assert server.seen[0].get("smithy-protocol") == "rpc-v2-cbor"
    assert len(server.seen) == 1


def test_a_modelled_exception_is_raised_as_its_class(server: Server) -> None:
    server.answer = lambda request: refusal(request, "ExpiredTokenException", "sign in again", request_id=REQUEST_ID)
    client = server.client("sts")
    with pytest.raises(client.exceptions.ExpiredTokenException, match="sign in again"):
        client.assume_role_with_web_identity(RoleArn="a" * 20, RoleSessionName="ab", WebIdentityToken="abcd")


def test_a_head_has_no_body_and_is_not_retried(server: Server) -> None:
    def answer(request: HttpRequest) -> HttpResponse:
        received = HttpRequest(request.method, "s3.amazonaws.com", request.target, request.headers, request.body)
        response = refusal(received, "AccessDenied", MESSAGE, request_id=REQUEST_ID)
        assert (response.body, response.get("content-length")) == (b"", "0")
        return response

    server.answer, server.seen = answer, []
    with pytest.raises(ClientError) as caught:
        server.client("s3").head_object(Bucket="b", Key="k")
    assert caught.value.response["Error"]["Code"] == "403"
    assert caught.value.response["ResponseMetadata"]["RequestId"] == REQUEST_ID
    assert len(server.seen) == 1


def test_only_the_generic_code_is_translated() -> None:
    for headers, host in (
        ({}, "ec2.us-east-1.amazonaws.com"),
        ({"x-amz-target": "T.O"}, "sqs.us-east-1.amazonaws.com"),
    ):
        response = refusal(request_of(headers, host), "InvalidClientTokenId", "m", request_id="r", status=400)
        assert b"InvalidClientTokenId" in response.body
        assert response.status == 400


@pytest.mark.parametrize(
    ("headers", "host", "target", "content_type"),
    [
        ({"smithy-protocol": "rpc-v2-cbor", "content-type": "application/json"}, "x", "/", "application/cbor"),
        ({"content-type": "application/x-amz-cbor-1.1", "x-amz-target": "Kinesis_20131202.ListStreams"},
         "kinesis.us-east-1.amazonaws.com", "/", "application/x-amz-cbor-1.1"),
        ({"content-type": "application/x-amz-json-1.1"}, "x", "/", "application/x-amz-json-1.1"),
        ({"x-amz-target": "A.B"}, "x", "/", "application/x-amz-json-1.0"),
        ({}, "sts.amazonaws.com", "/?Action=GetCallerIdentity&Version=2011-06-15", "text/xml"),
        ({}, "s3.amazonaws.com", "/bucket", "application/xml"),
        ({}, "bucket.s3.dualstack.eu-west-1.amazonaws.com", "/", "application/xml"),
        ({}, "bucket.s3-accelerate.amazonaws.com", "/", "application/xml"),
        ({}, "route53.amazonaws.com", "/2013-04-01/hostedzone", "text/xml"),
        ({"content-type": "application/json"}, "lambda.us-east-1.amazonaws.com", "/", "application/json"),
        ({}, "no-such-host", "/", "application/json"),
    ],
)  # fmt: skip
def test_before_decoding_the_shape_follows_what_the_request_speaks(
    headers: dict[str, str], host: str, target: str, content_type: str
) -> None:
    response = refusal(request_of(headers, host, "GET", target), "AccessDenied", MESSAGE, request_id=REQUEST_ID)
    assert response.get("content-type") == content_type
    if "cbor" in content_type:
        assert cbor2.loads(response.body) == {"__type": "AccessDeniedException", "message": MESSAGE}


ANY = st.text(max_size=40) | st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
WORDS = ANY | st.sampled_from(
    ["content-type", "x-amz-target", "smithy-protocol", "rpc-v2-cbor", "application/cbor", "application/json",
     "application/x-amz-json-1.1", "application/x-www-form-urlencoded", "text/xml", "application/x-amz-cbor-1.1\r\n",
     "GET", "HEAD", "/?Action=A", "/?%ff=&Action", "s3.amazonaws.com", "ec2.us-east-1.amazonaws.com", "bucket.s3-x"]
)  # fmt: skip
DECODED = st.none() | st.builds(
    decoded_of, WORDS | st.sampled_from(["s3", "sqs", "iam"]), WORDS,
    st.sampled_from(["query", "ec2", "json", "rest-json", "rest-xml", "smithy-rpc-v2-cbor"]),
)  # fmt: skip


@settings(max_examples=250, deadline=None, derandomize=True)
@given(
    st.builds(HttpRequest, WORDS, WORDS, WORDS, st.lists(st.tuples(WORDS, WORDS), max_size=4).map(tuple), st.none()),
    WORDS, ANY, WORDS, DECODED,
)  # fmt: skip
def test_no_request_makes_it_raise_and_every_answer_is_well_formed(
    request: HttpRequest, code: str, message: str, request_id: str, decoded: Decoded | None
) -> None:
    response = refusal(request, code, message, request_id=request_id, decoded=decoded)
    assert response.get("content-length") == str(len(response.body))
    for name, value in response.headers:
        assert (name + value).isascii()
        assert (name + value).isprintable()
    if request.method.upper() == "HEAD":
        assert response.body == b""
    elif "xml" in str(response.get("content-type")):
        assert ElementTree.fromstring(response.body).find(".//Message") is not None
    elif "json" in str(response.get("content-type")):
        assert isinstance(json.loads(response.body)["message"], str)
    else:
        assert isinstance(cbor2.loads(response.body)["message"], str)


@pytest.mark.parametrize("host", ["iam.amazonaws.com", "ec2.us-east-1.amazonaws.com", "b.s3.amazonaws.com"])
def test_xml_carries_every_character_that_xml_can_carry(host: str) -> None:
    message = "a\tb\nc\rd <&>\"' \u00e9 \U0001f600 \x00\x1b\ud800\ufffe"
    response = refusal(request_of({}, host, "GET", "/?Action=A"), "AccessDenied", message, request_id="r")
    found = ElementTree.fromstring(response.body).find(".//Message")
    assert found is not None
    assert found.text == "a\tb\nc\rd <&>\"' \u00e9 \U0001f600 " + "\ufffd" * 4
