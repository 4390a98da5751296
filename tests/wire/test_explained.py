"""Every byte explained: what is decoded, encoded again by botocore, is the request that was sent.

So nothing in a request can carry a meaning that policy has not seen. The reader itself does not encode again: it uses
up all that it is given and refuses the rest. Here its outcome is compared with an encoder that it shares no code with;
for every operation of AWS, test_round_trip.py does so.
"""

from typing import Any

import pytest

from addons import wire
from addons.wire import Undecodable, models
from scripts.benchmarks.round_trip.canonical import difference
from scripts.benchmarks.round_trip.capture import Client, frozen, operations
from scripts.benchmarks.round_trip.compare import SAMPLE
from scripts.benchmarks.round_trip.parameters import Generator
from tests.wire.requests import DYNAMODB, LAMBDA, S3, ask, cbor_ask, form_ask, json_ask, read, refused, xml_ask


def unexplained(service: str, **options: Any) -> tuple[int, list[str]]:
    """(requests, those with a difference) of a whole service."""
    found, count = [], 0
    with frozen():
        client = Client(service, **options)
        for operation in operations(client):
            for everything in (False, True):
                model = models.operation_model(service, operation)
                request, _ = client.request(operation, Generator(model, everything).parameters())
                count += 1
                where = difference(request, wire.decode(request))
                if where:
                    found.append(f"{service}:{operation}{where}")
    return count, found


@pytest.mark.parametrize("service", [*SAMPLE, "autoscaling"])
def test_a_sample_of_services(service: str) -> None:
    count, found = unexplained(service)
    assert count
    assert found == []


@pytest.mark.parametrize("protocol", ["json", "query", "smithy-rpc-v2-cbor"])
def test_one_service_in_three_protocols(protocol: str) -> None:
    assert unexplained("cloudwatch", protocol=protocol)[1] == []


TIME = '{"StartTime": %s, "EndTime": 1700000000, "Period": 60, "MetricName": "m", "Namespace": "n"}'


class TestLossyReadingsAreRefused:
    """What could be read, but would not come back as it was."""

    @pytest.mark.parametrize("seconds", ["1700000000", "1700000000.5", "1700000000.123456", "-1.5", "0"])
    def test_instants_to_the_microsecond(self, seconds: str) -> None:
        request = json_ask(
            (TIME % seconds).encode(),
            "GraniteServiceVersion20100801.GetMetricStatistics",
            "monitoring.us-east-1.amazonaws.com",
        )
        assert wire.decode(request).params["StartTime"].timestamp() == float(seconds)
        assert difference(request, wire.decode(request)) == ""

    @pytest.mark.parametrize("seconds", ["1700000000.1234567", "1e-9", "1700000000.00000012", "1e300", "1e18"])
    def test_finer_or_larger_ones(self, seconds: str) -> None:
        refused(
            json_ask(
                (TIME % seconds).encode(),
                "GraniteServiceVersion20100801.GetMetricStatistics",
                "monitoring.us-east-1.amazonaws.com",
            )
        )

    @pytest.mark.parametrize("number", ["9007199254740993", "18446744073709551617", "1" + "0" * 400])
    def test_integers_that_a_double_cannot_hold(self, number: str) -> None:
        body = '{"Namespace": "n", "MetricData": [{"MetricName": "m", "Value": %s}]}'
        target, host = "GraniteServiceVersion20100801.PutMetricData", "monitoring.us-east-1.amazonaws.com"
        assert read(json_ask((body % "9007199254740992").encode(), target, host))
        refused(json_ask((body % number).encode(), target, host))
        refused(json_ask((body % number).replace('"m"', '"\\u006d"').encode(), target, host))

    def test_the_fraction_of_an_http_date(self) -> None:
        date = "Mon, 02 Jan 2006 15:04:05{} GMT"
        head = {"If-Modified-Since": date.format("")}
        assert read(ask(S3, "GET", "/b-1/k", headers=head))[1]["IfModifiedSince"].microsecond == 0
        refused(ask(S3, "GET", "/b-1/k", headers={"If-Modified-Since": date.format(".5")}))

    def test_json_values_in_headers_are_canonical_base64(self) -> None:
        target = "/bot/b/alias/a/user/u/text"
        good = {"Content-Type": "application/json"}
        body = b'{"inputText": "hi"}'
        host = "runtime.lex.us-east-1.amazonaws.com"
        session = {"x-amz-lex-session-attributes": "eyJhIjogIjEifQ=="}
        found = wire.decode(
            ask(host, "POST", "/bot/b/alias/a/user/u/content", b"", session | {"Content-Type": "text/plain"})
        )
        assert found.params["sessionAttributes"] == {"a": "1"}
        assert read(ask(host, "POST", target, body, good))
        for value in ("eyJhIjogIjEifR==", "eyJhIjogIjEifQ", "eyJhIjogIjEifQ==\t", "{}"):
            refused(
                ask(
                    host,
                    "POST",
                    "/bot/b/alias/a/user/u/content",
                    b"",
                    {"x-amz-lex-session-attributes": value, "Content-Type": "text/plain"},
                )
            )


class TestNothingIsLeftOver:
    """One thing more in a request that is read as it stands: each is refused, in each part of each protocol."""

    @pytest.mark.parametrize("extra", ["&A=b", "&UserName.x=b", "&PathPrefix.member.1=b", "&A", "&Action.x=b", "&="])
    def test_form_keys(self, extra: str) -> None:
        assert read(form_ask("Action=ListUsers&Version=2010-05-08"))
        refused(form_ask("Action=ListUsers&Version=2010-05-08" + extra))

    @pytest.mark.parametrize("extra", ['"A": 1', '"tableName": "t"', '"Key": {}', '"": 1', '"TableName": "u"'])
    def test_json_members(self, extra: str) -> None:
        assert read(json_ask(b'{"TableName": "t", "Key": {}}'))
        refused(json_ask(f'{{"TableName": "t", "Key": {{}}, {extra}}}'.encode()))

    @pytest.mark.parametrize("extra", ["?A=b", "?A", "?MaxItems=1&MaxItems=2", "?x-id=GetFunction", "?Marker.x=1"])
    def test_query_keys(self, extra: str) -> None:
        assert read(ask(LAMBDA, "GET", "/2015-03-31/functions?MaxItems=1"))
        refused(ask(LAMBDA, "GET", "/2015-03-31/functions" + extra))

    @pytest.mark.parametrize("name", ["x-amz-other", "x-forwarded-host", "x-http-method-override", "range", "cookie"])
    def test_headers(self, name: str) -> None:
        refused(ask(LAMBDA, "GET", "/2015-03-31/functions", headers={name: "1"}))
        refused(ask(DYNAMODB, "POST", "/", b"{}", {"X-Amz-Target": "DynamoDB_20120810.ListTables", name: "1"}))

    @pytest.mark.parametrize("extra", ["<A/>", "text", "<!-- -->", '<Tag a="b"><Key>x</Key><Value/></Tag>', "<?a?>"])
    def test_xml(self, extra: str) -> None:
        body = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag>{}</TagSet></Tagging>"
        assert read(xml_ask(body.format("")))
        refused(xml_ask(body.format(extra)))

    @pytest.mark.parametrize("more", [b"\x00", b"\xf6", b"\xa0"])
    def test_cbor(self, more: bytes) -> None:
        assert read(cbor_ask(b"\xa0"))
        refused(cbor_ask(b"\xa0" + more))

    def test_bodies_that_no_operation_has(self) -> None:
        for body in (b"{}", b" ", b"\n"):
            refused(ask(LAMBDA, "GET", "/2015-03-31/functions", body, {"Content-Type": "application/json"}))
            refused(ask(S3, "GET", "/b-1/k", body))


def test_the_place_of_the_difference_is_named() -> None:
    with pytest.raises(Undecodable, match="unknown member 'Extra'"):
        wire.decode(json_ask(b'{"TableName": "t", "Key": {}, "Extra": 1}'))
    with pytest.raises(Undecodable, match="unknown query key 'extra'"):
        wire.decode(ask(LAMBDA, "GET", "/2015-03-31/functions?extra=1"))
    with pytest.raises(Undecodable, match="unknown parameter 'Extra'"):
        wire.decode(form_ask("Action=ListUsers&Version=2010-05-08&Extra=1"))
    with pytest.raises(Undecodable, match="unknown element 'Extra'"):
        wire.decode(xml_ask("<Tagging><TagSet/><Extra/></Tagging>"))
    with pytest.raises(Undecodable, match="the header 'x-extra' is not known"):
        wire.decode(ask(LAMBDA, "GET", "/2015-03-31/functions", headers={"X-Extra": "1"}))
