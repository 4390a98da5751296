"""Signatures that AWS has published: ours must be the same.

S3: "Authenticating Requests: Using the Authorization Header", Amazon S3 API reference
(docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "Examples: Signature Calculations").
IAM: "Create a signed AWS API request", the ListUsers example, once in the AWS General Reference.
Suite: AWS's Signature Version 4 Test Suite (aws-sig-v4-test-suite), names as there.
"""

from datetime import UTC, datetime

import pytest

from addons.wire.message import Headers, HttpRequest
from addons.wire.sigv4 import parse_authorization, sign, verify

S3_KEY, S3_SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
S3_TIME = datetime(2013, 5, 24, tzinfo=UTC)
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
SUITE_KEY, SUITE_SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SUITE_TIME = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)

S3_EXAMPLES = {
    "GET Object": (
        "GET", "/test.txt", {"Range": "bytes=0-9"}, EMPTY, b"",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "PUT Object": (
        "PUT", "/test%24file.text",
        {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072", b"Welcome to Amazon S3.",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    "GET Bucket Lifecycle": (
        "GET", "/?lifecycle", {}, EMPTY, b"", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "GET Bucket (List Objects)": (
        "GET", "/?max-keys=2&prefix=J", {}, EMPTY, b"",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", S3_EXAMPLES)
def test_the_examples_of_the_s3_reference_are_verified_and_signed_alike(name: str) -> None:
    method, target, extra, payload, body, signature = S3_EXAMPLES[name]
    host = "examplebucket.s3.amazonaws.com"
    headers: Headers = (
        ("Host", host), *extra.items(), ("x-amz-content-sha256", payload), ("x-amz-date", "20130524T000000Z"),
    )  # fmt: skip
    names = ";".join(sorted(name.lower() for name, _ in headers))
    value = (
        f"AWS4-HMAC-SHA256 Credential={S3_KEY}/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={names},Signature={signature}"
    )
    request = HttpRequest(method, host, target, (*headers, ("Authorization", value)), body)
    verify(request, parse_authorization(request), S3_SECRET, now=S3_TIME)

    signed = sign(
        request, access_key=S3_KEY, secret_key=S3_SECRET, token=None, service="s3", region="us-east-1", now=S3_TIME
    )
    assert dict(signed)["Authorization"].replace(", ", ",") == value


UTF8 = "/\u1234"
SUITE: dict[str, tuple[str, str, Headers, bytes, str]] = {
    "get-vanilla": ("GET", "/", (), b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "post-vanilla": ("POST", "/", (), b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    "get-vanilla-query-order-key-case": (
        "GET", "/?Param2=value2&Param1=value1", (), b"",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-utf8": ("GET", UTF8, (), b"", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    "get-unreserved": (
        "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", (), b"",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    "get-relative": ("GET", "/example/..", (), b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "get-space": (
        "GET", "/example space/", (), b"", "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    "get-slashes": ("GET", "//example//", (), b"", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
    "get-header-value-trim": (
        "GET", "/", (("My-Header1", " value1"), ("My-Header2", ' "a   b   c" ')), b"",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    "post-vanilla-query": (
        "POST", "/?Param1=value1", (), b"", "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    ),
    "post-x-www-form-urlencoded": (
        "POST", "/", (("Content-Type", "application/x-www-form-urlencoded"),), b"Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
}  # fmt: skip


def suite_request(
    method: str, target: str, extra: Headers, body: bytes, signature: str, host: str, service: str
) -> HttpRequest:
    headers = (("Host", host), *extra, ("X-Amz-Date", "20150830T123600Z"))
    names = ";".join(sorted(name.lower() for name, _ in headers))
    value = (
        f"AWS4-HMAC-SHA256 Credential={SUITE_KEY}/20150830/us-east-1/{service}/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return HttpRequest(method, host, target, (*headers, ("Authorization", value)), body)


@pytest.mark.parametrize("name", SUITE)
def test_the_test_suite_is_verified_and_signed_alike(name: str) -> None:
    request = suite_request(*SUITE[name], "example.amazonaws.com", "service")
    verify(request, parse_authorization(request), SUITE_SECRET, now=SUITE_TIME)
    signed = sign(
        request, access_key=SUITE_KEY, secret_key=SUITE_SECRET, token=None, service="service", region="us-east-1",
        now=SUITE_TIME,
    )  # fmt: skip
    assert dict(signed)["Authorization"] == request.get("authorization")


def test_the_iam_example_of_the_general_reference_is_verified() -> None:
    request = suite_request(
        "GET", "/?Action=ListUsers&Version=2010-05-08",
        (("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),), b"",
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7", "iam.amazonaws.com", "iam",
    )  # fmt: skip
    verify(request, parse_authorization(request), SUITE_SECRET, now=SUITE_TIME)
