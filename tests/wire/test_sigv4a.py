"""SigV4a: the published key, what AWS's own signer (awscrt) made, and what ours makes.

The key pair's coordinates stand in the test vectors of aws-c-auth (v4a, public-key.json). The signed requests were made
by awscrt 0.38.1, AWS's implementation in C, which is not among our dependencies; it shares no code with ours.
"""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from addons.wire import sigv4a
from addons.wire.message import HttpRequest
from addons.wire.sigv4 import SignatureRefused, in_headers, parse_authorization, sign, verify

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
X = 0xB6618F6A65740A99E650B33B6B4B5BD0D43B176D721A3EDFEA7E7D2D56D936B1
Y = 0x865ED22A7EADC9C5CB9D2CBACA1B3699139FEDC5043DC6661864218330C8E518
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
HOST = "x.us-east-1.amazonaws.com"
EMPTY = hashlib.sha256().hexdigest()
# What awscrt signed at NOW: method, target, headers, key, secret.
MADE: list[tuple[str, str, dict[str, str], str, str]] = [
    ('POST', '/', {'host': 'x.us-east-1.amazonaws.com', 'x-amz-target': 'AWSEvents.PutEvents', 'content-type': 'application/x-amz-json-1.1', 'X-Amz-Security-Token': 'SLG1.a.b', 'X-Amz-Date': '20260301T120000Z', 'X-Amz-Region-Set': '*', 'Authorization': 'AWS4-ECDSA-P256-SHA256 Credential=AKIDEXAMPLE/20260301/events/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-region-set;x-amz-security-token;x-amz-target, Signature=304402200b61ab66abcee471d8f87ec1d01fee87ca414fc5c2c89da0e0fd08892324d06902204ac6f45e182e970cb7deeca1978989a6c52fd5e20895b75cbe991beba9dc2840'}, 'AKIDEXAMPLE', 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'),  # noqa: E501
    ('GET', '/a%20b/../c/?z=1&a=%C3%BC', {'host': 'x.us-east-1.amazonaws.com', 'X-Amz-Security-Token': 'SLG1.a.b', 'X-Amz-Date': '20260301T120000Z', 'X-Amz-Region-Set': 'us-east-1,us-west-2', 'Authorization': 'AWS4-ECDSA-P256-SHA256 Credential=AKIDEXAMPLE/20260301/events/aws4_request, SignedHeaders=host;x-amz-date;x-amz-region-set;x-amz-security-token, Signature=3045022055cec527564fd087532c5e5d3a2806028eae20a9d4a2a1211abcddcbc62ffb2e0221009e8d2c9d9018d0d7e87a692bd76e0d0f764b58e46bb3ba54328d58e5ef20b5fb'}, 'AKIDEXAMPLE', 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'),  # noqa: E501
    ('GET', '/a%20b//../c%2Bd?versionId=1&acl', {'host': 'x.us-east-1.amazonaws.com', 'X-Amz-Security-Token': 'SLG1.a.b', 'X-Amz-Date': '20260301T120000Z', 'X-Amz-Region-Set': '*', 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', 'Authorization': 'AWS4-ECDSA-P256-SHA256 Credential=AKIDEXAMPLE/20260301/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-region-set;x-amz-security-token, Signature=3046022100a4a62c73b32ae34b8f74ae669f8bc58d791574b999ae1ffc306384468f5bbf16022100bc2fd89aa977a2d70d08f12ae62797a6e72670ea27f4414e976b630dbc8a3498'}, 'AKIDEXAMPLE', 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'),  # noqa: E501
    ('GET', '/a%20b/k?response-content-type=text%2Fplain&X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20260301%2Fs3%2Faws4_request&X-Amz-Date=20260301T120000Z&X-Amz-SignedHeaders=host&X-Amz-Expires=600&X-Amz-Security-Token=SLG1.a.b&X-Amz-Region-Set=%2A&X-Amz-Signature=3045022100ad587e9eef80530e9c285725fc014542c22c835343e5db9df617b208ef72c05a0220178c08e2104354d11446872b92e6b5683a0081a8a9dfacb3059e9b32fa793455', {'host': 'x.us-east-1.amazonaws.com'}, 'AKIDEXAMPLE', 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'),  # noqa: E501
    ('GET', '/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20260301%2Fsts%2Faws4_request&X-Amz-Date=20260301T120000Z&X-Amz-SignedHeaders=host&X-Amz-Expires=600&X-Amz-Region-Set=us-east-1&X-Amz-Signature=3045022077480f8d126a59952f27283a831e3653b323f8a441d62cb6af40a9ca6489992d022100fbfaba675f8f6d40343c463ca6278bb5faa64ddc043491ddaf3f97f9fa2d1335', {'host': 'x.us-east-1.amazonaws.com'}, 'AKIDEXAMPLE', 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'),  # noqa: E501
    ('GET', '/k', {'host': 'x.us-east-1.amazonaws.com', 'X-Amz-Security-Token': 'SLG1.a.b', 'X-Amz-Date': '20260301T120000Z', 'X-Amz-Region-Set': '*', 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', 'Authorization': 'AWS4-ECDSA-P256-SHA256 Credential=ASIAKEYNUMBER0/20260301/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-region-set;x-amz-security-token, Signature=3046022100d95458059970be8c90be7e3c17c89f87b5db69e0c7a648b50220a73f1b3c684d022100e3016ca455a3a12cb9d02a7619de4c388e0a00a6709863e3c0a31cce5e95ffa0'}, 'ASIAKEYNUMBER0', 'secret of number 0secret of number 0secret of number 0'),  # noqa: E501
    ('GET', '/k', {'host': 'x.us-east-1.amazonaws.com', 'X-Amz-Security-Token': 'SLG1.a.b', 'X-Amz-Date': '20260301T120000Z', 'X-Amz-Region-Set': '*', 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', 'Authorization': 'AWS4-ECDSA-P256-SHA256 Credential=ASIAKEYNUMBER1/20260301/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-region-set;x-amz-security-token, Signature=304402205d28dcbf5a9ca3871f0c027fccf92365dd0b9ef502094d8d0b44365085aed4450220577864f73943d2f22b647e266264f22503361e0108719bae23ba0455b2523801'}, 'ASIAKEYNUMBER1', 'secret of number 1secret of number 1secret of number 1'),  # noqa: E501
    ('GET', '/k', {'host': 'x.us-east-1.amazonaws.com', 'X-Amz-Security-Token': 'SLG1.a.b', 'X-Amz-Date': '20260301T120000Z', 'X-Amz-Region-Set': '*', 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', 'Authorization': 'AWS4-ECDSA-P256-SHA256 Credential=ASIAKEYNUMBER2/20260301/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-region-set;x-amz-security-token, Signature=3045022100e6ea21273bfd88b321486ccfba64b74812b875ab4cdc1d55a54e23e62b7c33620220408e18ccd5f322c573e8d595d9a5c71c1972c02f0e68e627e0a7f5b08a9a7788'}, 'ASIAKEYNUMBER2', 'secret of number 2secret of number 2secret of number 2'),  # noqa: E501
]  # fmt: skip


def made(case: int) -> tuple[HttpRequest, str]:
    method, target, headers, _, secret = MADE[case]
    return HttpRequest(method, HOST, target, tuple(headers.items()), b""), secret


def test_the_published_key_pair_is_derived() -> None:
    numbers = sigv4a.private_key(KEY, SECRET).public_key().public_numbers()
    assert (numbers.x, numbers.y) == (X, Y)
    assert sigv4a.private_key.cache_info().maxsize == 1024
    assert SECRET not in repr(sigv4a.private_key)


@pytest.mark.parametrize("case", range(len(MADE)))
def test_what_awscrt_signed_is_verified_and_nothing_else(case: int) -> None:
    request, secret = made(case)
    found = parse_authorization(request)
    verify(request, found, secret, now=NOW)
    assert found.algorithm == "AWS4-ECDSA-P256-SHA256"
    assert (found.expires is None) == ("X-Amz-Signature" not in request.target)
    for bad in (
        replace(request, method="DELETE"),
        replace(request, target=request.target.replace("?", "x?") if "?" in request.target else request.target + "x"),
        replace(request, headers=tuple((n, v + "x" if n.lower() == "host" else v) for n, v in request.headers)),
    ):
        with pytest.raises(SignatureRefused):
            verify(bad, parse_authorization(bad), secret, now=NOW)
    for wrong in (
        replace(found, access_key="AKIDEXAMPLF"),
        replace(found, signature=found.signature[:-2] + ("00" if found.signature[-2:] != "00" else "11")),
        replace(found, signature="00" * 70),
        replace(found, service="iam"),
    ):
        with pytest.raises(SignatureRefused, match="SignatureDoesNotMatch"):
            verify(request, wrong, secret, now=NOW)
    with pytest.raises(SignatureRefused):
        verify(request, found, secret + "x", now=NOW)


def test_our_signature_is_that_of_the_published_key_over_the_documented_text() -> None:
    """IAM User Guide, "Create a signed AWS API request"; the region set stands in a header, not in the scope."""
    at = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
    plain = HttpRequest("GET", "example.amazonaws.com", "/", (("Host", "example.amazonaws.com"),), b"")
    signed = dict(
        sign(plain, access_key=KEY, secret_key=SECRET, token=None, service="service", region="*", now=at)
    )  # fmt: skip
    names = "host;x-amz-date;x-amz-region-set"
    canonical = (
        "GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\nx-amz-region-set:*\n\n"
        + f"{names}\n{EMPTY}"
    )
    text = (
        "AWS4-ECDSA-P256-SHA256\n20150830T123600Z\n20150830/service/aws4_request\n"
        + hashlib.sha256(canonical.encode()).hexdigest()
    )
    head, _, signature = signed["Authorization"].rpartition("Signature=")
    assert head == f"AWS4-ECDSA-P256-SHA256 Credential={KEY}/20150830/service/aws4_request, SignedHeaders={names}, "
    assert signed["X-Amz-Region-Set"] == "*"
    public = ec.EllipticCurvePublicNumbers(X, Y, ec.SECP256R1()).public_key()
    public.verify(bytes.fromhex(signature), text.encode(), ec.ECDSA(SHA256()))


def test_a_request_of_sigv4a_is_signed_anew_with_sigv4_and_the_other_way_round() -> None:
    for case, region in ((0, "us-east-1"), (0, "*"), (3, "us-east-1"), (3, "*"), (4, "*")):
        request, secret = made(case)
        found = parse_authorization(request)
        verify(request, found, secret, now=NOW)
        if found.expires is not None:
            request = in_headers(request, found)
        headers = sign(
            request, access_key="AKIAREAL", secret_key="real", token="t", service=found.service, region=region, now=NOW
        )  # fmt: skip
        again = replace(request, headers=headers)
        other = parse_authorization(again)
        verify(again, other, "real", now=NOW)
        assert other.algorithm == ("AWS4-ECDSA-P256-SHA256" if region == "*" else "AWS4-HMAC-SHA256")
        assert again.all("x-amz-region-set") == (["*"] if region == "*" else [])
        assert secret not in str(headers)
        assert "X-Amz-" not in again.target


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("x-amz-region-set", None, "region-set"),
        ("x-amz-region-set", "us-east-1;us-west-2", "region-set"),
        ("x-amz-region-set", "", "region-set"),
        ("x-amz-date", None, "x-amz-date"),
    ],
)
def test_its_headers_must_be_there(name: str, value: str | None, says: str) -> None:
    request, _ = made(0)
    headers = tuple((n, v) for n, v in request.headers if n.lower() != name)
    if value is not None:
        headers = (*headers, (name, value))
    with pytest.raises(SignatureRefused, match=says):
        parse_authorization(replace(request, headers=headers))


def test_scopes_of_one_algorithm_are_none_of_the_other() -> None:
    request, _ = made(0)
    value = request.get("authorization") or ""
    regional = value.replace("/20260301/", "/20260301/us-east-1/")
    plain = value.replace("AWS4-ECDSA-P256-SHA256", "AWS4-HMAC-SHA256")
    for bad in (regional, plain, regional.replace("AWS4-ECDSA-P256-SHA256", "AWS4-HMAC-SHA256")):
        headers = tuple((n, bad if n.lower() == "authorization" else v) for n, v in request.headers)
        with pytest.raises(SignatureRefused, match="IncompleteSignature"):
            parse_authorization(replace(request, headers=headers))
