"""Capture what AWS CLI v2 and AWS's JavaScript SDK v3 really send for `calls.py`, into files beside this one.

The clients think that they talk to AWS: the CLI through a CONNECT proxy, Node by an agent that connects here, both
over TLS under a throw-away CA, so that Host and every byte are as AWS would get them. Each request is answered with 400
and written to `cli.jsonl` or `javascript.jsonl`, without its signature and what it says of this machine. Node takes the
SDK's clients from the folder that is given by --modules (npm install @aws-sdk/client-... for each service).

    python -m tests.wire.captured.capture_clients --modules .../node_modules
"""

import argparse
import base64
import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from botocore import xform_name
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests import tools
from tests.wire.captured.calls import CALLS, CLI_ONLY_NAMES, PACKAGES, Call

HERE = Path(__file__).parent
DROPPED = {"x-amz-security-token", "connection", "proxy-connection"}
SCRUBBED = {  # header -> what stands for it
    "user-agent": "captured",
    "x-amz-user-agent": "captured",
    "amz-sdk-invocation-id": "00000000-0000-4000-8000-000000000000",
}
JAVASCRIPT = r"""
const fs = require("fs"), https = require("https"), tls = require("tls");
const [modules, port, ca] = process.argv.slice(2);
class Here extends https.Agent {
  createConnection(options) {
    const servername = options.servername || options.host;
    return tls.connect({ ...options, host: "127.0.0.1", port: Number(port), servername, ca: fs.readFileSync(ca) });
  }
}
const { NodeHttpHandler } = require(`${modules}/@smithy/node-http-handler`);  // kinesis would speak HTTP/2
const revive = (value) => {
  if (Array.isArray(value)) return value.map(revive);
  if (value === null || typeof value !== "object") return value;
  if ("$bytes" in value) return Buffer.from(value.$bytes, "base64");
  if ("$time" in value) return new Date(value.$time);
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, revive(v)]));
};
(async () => {
  for (const call of JSON.parse(fs.readFileSync(0, "utf8"))) {
    const sdk = require(`${modules}/@aws-sdk/client-${call.package}`);
    const name = Object.keys(sdk).find((key) => key.endsWith("Client") && !key.startsWith("_"));
    const client = new sdk[name]({ region: "us-east-1", maxAttempts: 1,
      requestHandler: new NodeHttpHandler({ httpsAgent: new Here() }),
      credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" } });
    console.log(call.id);
    await client.send(new sdk[`${call.operation}Command`](revive(call.params))).catch((error) => {
      if (!error.$metadata || !error.$metadata.httpStatusCode) console.error(call.id, error.message);
    });
  }
})();
"""


class Catcher:
    """A TLS server that is every host at once, itself a CONNECT proxy too; keeps what it is sent, answers 400."""

    def __init__(self, directory: Path) -> None:
        self.caught: list[dict[str, Any]] = []
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._ca = self._certificate("throw-away", None)
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(self._ca.public_bytes(serialization.Encoding.PEM))
        self._leaf = directory / "leaf.pem"
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _certificate(self, name: str, issuer: x509.Certificate | None) -> x509.Certificate:
        subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:60])]), datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject if issuer else subject)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(issuer is None, None), True)
        )
        if issuer:
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        return made.sign(self._key, hashes.SHA256())

    def _context(self, host: str) -> ssl.SSLContext:
        with self._lock:
            pem = serialization.Encoding.PEM
            key = self._key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            self._leaf.write_bytes(key + self._certificate(host, self._ca).public_bytes(pem))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._leaf)
            return context

    def _accept(self) -> None:
        while True:
            client, _ = self._server.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if client.recv(1, socket.MSG_PEEK) == b"C":
                with client.makefile("rb", buffering=0) as plain:
                    while plain.readline().strip():
                        pass
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            context = self._context("localhost")
            context.sni_callback = lambda sock, name, _: setattr(sock, "context", self._context(name))
            with context.wrap_socket(client, server_side=True) as secure, secure.makefile("rb") as stream:
                self._keep(secure, stream)

    def _keep(self, secure: ssl.SSLSocket, stream: Any) -> None:
        method, target, _ = stream.readline().decode().split(" ")
        headers = []
        while line := stream.readline().strip():
            name, _, value = line.decode().partition(":")
            headers.append([name, value.strip()])
        given = {name.lower(): value for name, value in headers}
        if given.get("expect"):
            secure.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in given.get("transfer-encoding", ""):
            body = b""
            while size := int(stream.readline().strip() or b"0", 16):
                body += stream.read(size)
                stream.readline()
        else:
            body = stream.read(int(given.get("content-length", 0)))
        self.caught.append(
            {"method": method, "host": given["host"], "target": target, "headers": headers, "body": body}
        )
        secure.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")


def scrubbed(headers: list[list[str]]) -> Iterator[list[str]]:
    """The headers without signatures and without what they say of the machine."""
    for name, value in headers:
        if name.lower() in DROPPED:
            continue
        value = SCRUBBED.get(name.lower(), value)
        yield [name, re.sub(r"Signature=[0-9a-f]{64}", "Signature=" + "0" * 64, value)]


def marked(value: Any) -> Any:
    """Arguments as JSON: bytes and times are marked."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, dict):
        return {key: marked(item) for key, item in value.items()}
    return [marked(item) for item in value] if isinstance(value, list) else value


def written(file: Path, made: list[tuple[Call, dict[str, Any]]]) -> None:
    """One request a line, in the form of `sluicegate decode --jsonl`, with the call that made it."""
    with file.open("w") as out:
        for call, caught in made:
            line = {
                "id": f"{call.service}:{call.operation}",
                "method": caught["method"],
                "url": f"https://{caught['host']}{caught['target']}",
                "headers": list(scrubbed(caught["headers"])),
                "body": base64.b64encode(caught["body"]).decode(),
                "arguments": marked(call.params),
            }
            print(json.dumps(line, ensure_ascii=False), file=out)
    print(f"{file}: {len(made)} requests, {file.stat().st_size // 1024} KB")


def cli(catcher: Catcher, program: Path, home: Path) -> list[tuple[Call, dict[str, Any]]]:
    """Each call by `aws SERVICE OPERATION --cli-input-json`; a streamed body from a file."""
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "HTTPS_PROXY": f"http://127.0.0.1:{catcher.port}",
        "AWS_CA_BUNDLE": str(catcher.ca),
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    made = []
    for call in CALLS:
        params, more = dict(call.params), []
        if call.operation == "PutObject":
            (home / "body").write_bytes(params.pop("Body"))
            more = ["--body", str(home / "body")]
        given = json.dumps(
            params, default=lambda v: base64.b64encode(v).decode() if isinstance(v, bytes) else v.isoformat()
        )
        name = CLI_ONLY_NAMES.get(call.service, call.service)
        command = [str(program), name, xform_name(call.operation, "-"), "--cli-input-json", given, *more]
        if call.operation == "GetObject":  # with a file to write to, the CLI wants options
            command[3:] = [part for key, value in params.items() for part in (f"--{xform_name(key, '-')}", value)]
            command.append(str(home / "got"))
        catcher.caught.clear()
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if catcher.caught:
            made.append((call, catcher.caught[0]))
        else:
            print(f"NOT CAPTURED {call.service}:{call.operation}: {done.stderr.strip()[-300:]}")
    return made


def javascript(catcher: Catcher, modules: Path, home: Path) -> list[tuple[Call, dict[str, Any]]]:
    """Each call by its client and command."""
    script = home / "calls.cjs"
    script.write_text(JAVASCRIPT)
    made = []
    for number, call in enumerate(CALLS):
        package = PACKAGES.get(call.service, call.service)
        given = [{"id": number, "package": package, "operation": call.operation, "params": marked(call.params)}]
        command = ["node", str(script), str(modules), str(catcher.port), str(catcher.ca)]
        catcher.caught.clear()
        done = subprocess.run(
            command, input=json.dumps(given), env={"PATH": os.environ["PATH"], "HOME": str(home)}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        if catcher.caught:
            made.append((call, catcher.caught[0]))
        else:
            print(f"NOT CAPTURED {call.service}:{call.operation}: {done.stderr.strip()[-300:]}")
    return made


def main() -> None:
    """Capture both clients, or the one for which the arguments are there."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--modules", type=Path, help="node_modules with the SDK's clients")
    arguments.add_argument("--no-cli", action="store_true", help="leave the CLI's as they are")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        catcher = Catcher(home)
        if not given.no_cli:
            written(HERE / "cli.jsonl", cli(catcher, tools.aws_cli_2(), home))
        if given.modules:
            written(HERE / "javascript.jsonl", javascript(catcher, given.modules.resolve(), home))


if __name__ == "__main__":
    main()
