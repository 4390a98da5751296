"""`sluicegate credentials`: synthetic credentials for a person's laptop, or for a container beside it."""

import asyncio
import json
import os
import re
import secrets
import shlex
import sys
from pathlib import Path
from typing import IO, Annotated

import typer

from addons.state import private_file
from scripts.cli.common import fail, operator
from scripts.client.device import Client, Question, SignInFailed
from scripts.client.signing_in import DeviceLogin, Gate, Keeper, Source, TokenFile, cache_directory, login_file

app = typer.Typer(no_args_is_help=True, help="Sign a person or a container in, for any AWS SDK.")

Role = Annotated[str | None, typer.Option(help="The role to sign in to.", envvar="AWS_ROLE_ARN")]
Proxy = Annotated[str | None, typer.Option(help="The gateway.", envvar=["HTTPS_PROXY", "https_proxy"])]
Ca = Annotated[Path | None, typer.Option(help="The gateway's root.pem.", envvar="AWS_CA_BUNDLE")]
Region = Annotated[str, typer.Option(envvar=["AWS_REGION", "AWS_DEFAULT_REGION"])]
SessionName = Annotated[str | None, typer.Option(help="RoleSessionName: a label; default your user.")]
Issuer = Annotated[str | None, typer.Option(help="The OIDC provider that a person signs in at, in a browser.")]
ClientId = Annotated[str, typer.Option(help="What the provider calls this client: the `audience` of the gateway.")]
Scope = Annotated[str, typer.Option(help="What is asked of the provider; offline_access is for staying signed in.")]
IssuerCa = Annotated[Path | None, typer.Option(help="Roots for the provider, instead of the system's.")]
Token = Annotated[
    Path | None,
    typer.Option(help="Instead of a person: a file with a token.", envvar="AWS_WEB_IDENTITY_TOKEN_FILE"),
]
SCOPE = "openid offline_access"
WORD = re.compile("[!-~]{16,}")  # what clients of the endpoint must show


@app.command()
def process(
    role: Role = None,
    proxy: Proxy = None,
    ca: Ca = None,
    region: Region = "us-east-1",
    session_name: SessionName = None,
    issuer: Issuer = None,
    client_id: ClientId = "sluicegate",
    scope: Scope = SCOPE,
    issuer_ca: IssuerCa = None,
    token_file: Token = None,
) -> None:
    """Print credentials for `credential_process` of an AWS profile; asks a person on the terminal where it must."""
    gate = gate_of(role, proxy, ca, region, session_name)
    terminal = terminal_of()
    source = source_of(issuer, client_id, scope, issuer_ca, token_file, terminal)
    try:
        found = Keeper(gate, source, cache_directory(os.environ)).credentials()
    except (SignInFailed, OSError, ValueError) as error:
        fail(str(error), 1)
    print(
        json.dumps(
            {
                "Version": 1,
                "AccessKeyId": found.access_key,
                "SecretAccessKey": found.secret_key,
                "SessionToken": found.token,
                "Expiration": found.expiration,
            }
        )
    )


@app.command()
def login(
    issuer: Annotated[str, typer.Option(help="The OIDC provider.")],
    client_id: ClientId = "sluicegate",
    scope: Scope = SCOPE,
    issuer_ca: IssuerCa = None,
) -> None:
    """Sign a person in anew; the token is kept in a file that only this user can read."""
    source = login_of(issuer, client_id, scope, issuer_ca, sys.stderr)
    try:
        source.sign_in()
        forget("keys-*")  # made with the old token, which may have been revoked
    except (SignInFailed, OSError, ValueError) as error:
        fail(str(error), 1)
    print(f"Signed in at {issuer}.")


@app.command()
def logout() -> None:
    """Forget all tokens and credentials that are kept here."""
    forget("login-*")
    forget("keys-*")
    print("Signed out here. `sluicegate session revoke` ends what was given out.")


@app.command()
def serve(
    listen: Annotated[str, typer.Option(help="A loopback address; port 0 takes a free one.")] = "127.0.0.1:9911",
    authorization_file: Annotated[Path, typer.Option(help="What clients must show (0600); made if absent.")] = Path(
        "container.token"
    ),
    role: Role = None,
    proxy: Proxy = None,
    ca: Ca = None,
    region: Region = "us-east-1",
    session_name: SessionName = None,
    issuer: Issuer = None,
    client_id: ClientId = "sluicegate",
    scope: Scope = SCOPE,
    issuer_ca: IssuerCa = None,
    token_file: Token = None,
) -> None:
    """Serve credentials as ECS and EKS do, on loopback: for containers and SDKs that know no token file."""
    from addons.config import Address  # like tornado, it takes its time, which `process` need not wait for
    from scripts.client import container

    gate = gate_of(role, proxy, ca, region, session_name)
    source = source_of(issuer, client_id, scope, issuer_ca, token_file, None)
    try:
        address = Address.parse(listen)
        if not container.is_loopback(address.host):
            fail("--listen must be a loopback address: SDKs ask no other over plain HTTP")
        secret = private_file.read_or_create(authorization_file, secrets.token_urlsafe(32).encode()).decode()
        if not WORD.fullmatch(secret):  # an empty one would let in who sends nothing
            fail(f"{authorization_file} must hold at least 16 characters, no space or line among them: remove it", 2)
        sockets = container.listening(address.host, address.port)
    except (OSError, ValueError) as error:
        fail(str(error), 1)
    host, port = sockets[0].getsockname()[:2]
    place = f"[{host}]" if ":" in host else host
    print(f"export AWS_CONTAINER_CREDENTIALS_FULL_URI=http://{place}:{port}{container.PATH}")
    print(
        f"export AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE={shlex.quote(str(authorization_file.absolute()))}", flush=True
    )
    try:
        asyncio.run(container.serve(sockets, secret, Keeper(gate, source)))
    except KeyboardInterrupt:
        sys.exit(130)


def gate_of(role: str | None, proxy: str | None, ca: Path | None, region: str, session_name: str | None) -> Gate:
    """The gateway and the role, or the end of the command."""
    if not role or not re.fullmatch(r"arn:[a-z-]+:iam::[0-9]{12}:role/\S+", role):
        fail("name the role: --role arn:aws:iam::111122223333:role/NAME")
    if not proxy or not re.match(r"https?://[^/]", proxy):
        fail("name the gateway: --proxy http://127.0.0.1:8080")
    if not ca or not ca.is_file():
        fail("name the gateway's root certificate: --ca FILE (`sluicegate ca path` prints it)")
    label = re.sub(r"[^\w+=,.@-]", "-", session_name or operator(), flags=re.ASCII)[:64].ljust(2, "-")
    return Gate(proxy, ca, role, label, region)


def source_of(
    issuer: str | None,
    client_id: str,
    scope: str,
    issuer_ca: Path | None,
    token_file: Path | None,
    terminal: IO[str] | None,
) -> Source:
    """Where tokens come from, or the end of the command. A provider that is named wins over a file's variable."""
    if issuer:
        return login_of(issuer, client_id, scope, issuer_ca, terminal)
    if token_file:
        return TokenFile(token_file)
    return fail("say who signs in: --issuer URL for a person, or --token-file FILE")


def login_of(issuer: str, client_id: str, scope: str, issuer_ca: Path | None, terminal: IO[str] | None) -> DeviceLogin:
    """A person's sign-in, with the question on a terminal."""
    client = Client(issuer, client_id, scope, issuer_ca)

    def ask(question: Question) -> None:
        print(f"sluicegate: to sign in, open {question.uri} and enter the code {question.user_code}", file=terminal)
        if question.complete:
            print(f"            or open {question.complete}", file=terminal)
        print("", end="", file=terminal, flush=True)

    hint = ["sluicegate", "credentials", "login", "--issuer", issuer, "--client-id", client_id]
    hint += ["--scope", scope] if scope != SCOPE else []
    hint += ["--issuer-ca", str(issuer_ca)] if issuer_ca else []
    file = login_file(cache_directory(os.environ), client)
    return DeviceLogin(client, file, ask if terminal else None, shlex.join(hint))


def forget(names: str) -> None:
    """Remove what is kept under these names."""
    for file in cache_directory(os.environ).glob(names):
        file.unlink(missing_ok=True)


def terminal_of() -> IO[str] | None:
    """The person's terminal: SDKs take what a credential_process says on standard error, and don't show it."""
    try:
        return open("/dev/tty", "w")
    except OSError:
        return None
