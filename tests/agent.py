"""A client that may misbehave: raw sockets to the proxy, signatures made by botocore, every part open to tampering."""

import http.client
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any

import boto3
import botocore.awsrequest
import botocore.credentials
from botocore.auth import SigV4Auth
from botocore.config import Config

from tests.harness import Gateway

JSON = {"content-type": "application/x-amz-json-1.0"}


@dataclass
class Answer:
    """What came back; `status` 0 means that the connection was closed without an answer."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def session(gateway: Gateway) -> Any:
    """A boto3 session that knows only what an agent is given."""
    env = gateway.environment()
    made = boto3.Session(region_name="us-east-1")
    made._session.set_config_variable("web_identity_token_file", env["AWS_WEB_IDENTITY_TOKEN_FILE"])
    made._session.set_config_variable("role_arn", env["AWS_ROLE_ARN"])
    return made


def client(gateway: Gateway, service: str, **settings: Any) -> Any:
    """A boto3 client through the gateway, with credentials from its STS."""
    access_key, secret, token = sign_in(gateway)
    config = Config(
        proxies={"https": gateway.proxy},
        retries={"total_max_attempts": settings.pop("attempts", 3)},
        connect_timeout=5,
        read_timeout=settings.pop("read_timeout", 60),
        **settings.pop("config", {}),
    )
    return boto3.client(
        service,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        verify=gateway.ca,
        config=config,
        **settings,
    )


def sign_in(gateway: Gateway) -> tuple[str, str, str]:
    """Exchange the agent's token for synthetic credentials, as an SDK does."""
    sts = boto3.client(
        "sts",
        region_name="us-east-1",
        aws_access_key_id="",
        aws_secret_access_key="",
        verify=gateway.ca,
        config=Config(
            proxies={"https": gateway.proxy}, signature_version=botocore.UNSIGNED, retries={"total_max_attempts": 1}
        ),
    )
    env = gateway.environment()
    token = gateway.token_file().read_text().strip()
    found = sts.assume_role_with_web_identity(
        RoleArn=env["AWS_ROLE_ARN"], RoleSessionName="test", WebIdentityToken=token
    )["Credentials"]
    return found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]


@dataclass
class Raw:
    """One hand-made request. `connect`, `sni` and `host` may differ; headers are sent as listed, duplicates and all."""

    gateway: Gateway
    keys: tuple[str, str, str] | None = None
    host: str = "dynamodb.us-east-1.amazonaws.com"
    connect: str | None = None
    sni: str | None = None
    service: str = "dynamodb"
    region: str = "us-east-1"

    def signed(self, method: str, path: str, headers: dict[str, str], body: bytes) -> list[tuple[str, str]]:
        request = botocore.awsrequest.AWSRequest(method, f"https://{self.host}{path}", headers=headers, data=body)
        if self.keys:
            SigV4Auth(botocore.credentials.Credentials(*self.keys), self.service, self.region).add_auth(request)
        return [("Host", self.host), *request.headers.items(), ("Content-Length", str(len(body)))]

    def tunnel(self) -> ssl.SSLSocket:
        """A TLS connection to an AWS name through the proxy."""
        connect, sni = self.connect or f"{self.host}:443", self.sni or self.host
        plain = socket.create_connection(self.gateway.proxy_address, timeout=10)
        plain.sendall(f"CONNECT {connect} HTTP/1.1\r\nHost: {connect}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            if not (more := plain.recv(1)):
                raise ConnectionError(f"CONNECT was not answered: {answer!r}")
            answer += more
        if b" 200 " not in answer.split(b"\r\n")[0]:
            raise ConnectionError(answer.decode())
        context = ssl.create_default_context(cafile=self.gateway.ca)
        return context.wrap_socket(plain, server_hostname=sni)

    def send(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes = b"") -> Answer:
        try:
            with self.tunnel() as tls:
                head = "".join(f"{name}: {value}\r\n" for name, value in headers)
                tls.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
                return read(tls, method)
        except (ConnectionError, ssl.SSLError, http.client.BadStatusLine):
            return Answer(0)

    def call(self, target: str = "GetItem", body: bytes = b'{"TableName":"t","Key":{"k":{"S":"v"}}}') -> Answer:
        """A DynamoDB call, signed where there are keys."""
        headers = JSON | {"x-amz-target": f"DynamoDB_20120810.{target}"}
        return self.send("POST", "/", self.signed("POST", "/", headers, body), body)


def read(connection: socket.socket, method: str) -> Answer:
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
