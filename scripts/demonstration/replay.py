"""The demo's last act: the saved session in stock mitmproxy, read by it and then served by it."""

import json
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from addons.text import one_line
from scripts.client.ports import free_port, listens
from scripts.demonstration.stage import ACCOUNT, SECRET, environment

# Not the object of S3: of such content a recording keeps the size and the hash.
SERVED = [
    "sts:get_caller_identity",
    "ec2:describe_instances",
    "s3:list_buckets",
    "dynamodb:get_item",
    "secretsmanager:get_secret_value",
]
OPTIONS = {  # for `-S`: what is safe, and what tells AWS's calls apart
    "connection_strategy": "lazy",  # connect to nobody
    "server_replay_extra": "404",  # what was not recorded is not forwarded
    "server_replay_reuse": "true",
    "server_replay_use_headers": "X-Amz-Target",  # the operation of the JSON protocols
}


def replay(here: Path, console: Console) -> list[str]:
    """Read the session with `mitmdump -nr`, serve it with `mitmdump -S`; what went wrong."""
    found = sorted((here / "sessions").rglob("*.mitm"))
    if len(found) != 1:
        return [f"{len(found)} sessions were saved instead of one"]
    session, mitmdump = found[0], str(Path(sys.executable).parent / "mitmdump")
    console.rule("the saved session, read by stock mitmproxy")
    say(console, "mitmdump -nr SESSION.mitm")
    read = subprocess.run([mitmdump, "-nr", session], capture_output=True, text=True, check=False, timeout=60)
    for line in read.stdout.splitlines():
        console.print("  " + one_line(line, console.width - 2), markup=False, highlight=False)
    wrong = []
    if read.returncode or "https://secretsmanager.us-east-1.amazonaws.com/" not in read.stdout:
        wrong.append(f"mitmdump -nr does not show the session: {read.stdout}{read.stderr}")
    if SECRET.encode() in session.read_bytes():
        wrong.append("the saved session holds the secret")
    console.print()
    console.rule("the saved session, served to an agent with no AWS behind")
    say(console, " ".join(["mitmdump -S SESSION.mitm", *(f"--set {k}={v}" for k, v in OPTIONS.items())]))
    return wrong + serve(here, session, mitmdump, console)


def serve(here: Path, session: Path, mitmdump: str, console: Console) -> list[str]:
    """Answer the agent's calls from the recording alone; what went wrong."""
    port = free_port()
    root = here / "replay" / "mitmproxy-ca-cert.pem"
    words = [f"{k}={v}" for k, v in {**OPTIONS, "confdir": str(root.parent)}.items()]
    server = subprocess.Popen(
        [mitmdump, "-q", "-S", str(session), "--listen-host", "127.0.0.1", "-p", str(port)]
        + [word for option in words for word in ("--set", option)]
    )
    try:
        deadline = time.monotonic() + 60
        while not (root.exists() and listens(port)):
            if server.poll() is not None or time.monotonic() > deadline:
                return ["mitmdump -S did not start"]
            time.sleep(0.05)
        given = environment(
            HTTPS_PROXY=f"http://127.0.0.1:{port}",
            AWS_CA_BUNDLE=str(root),
            AWS_ACCESS_KEY_ID="none",
            AWS_SECRET_ACCESS_KEY="none",  # noqa: S106
            AWS_DEFAULT_REGION="us-east-1",
            AWS_ACCOUNT_ID=ACCOUNT,  # part of DynamoDB's host name, where an SDK knows it
        )
        ran = subprocess.run(
            [sys.executable, "-m", "scripts.demonstration.agent", *SERVED],
            env=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        server.terminate()
        server.wait(20)
    answers = [said for line in ran.stdout.splitlines() if (said := json.loads(line))["ends"]]
    for said in answers:
        mark = "[green]✓[/green]" if said["ok"] else "[red]✗[/red]"
        console.print(f"  {mark}", end=" ")
        text = f"{said['call']:32} {one_line(said['text'], 200)}"
        console.print(text, markup=False, no_wrap=True, overflow="ellipsis", width=console.width - 4)
    good = [said["call"] for said in answers if said["ok"]]
    return [] if good == SERVED else [f"replay answered only {', '.join(good) or 'nothing'}: {ran.stderr[-500:]}"]


def say(console: Console, command: str) -> None:
    """Show a command as it would be typed."""
    console.print(f"$ {command}", style="dim", markup=False, highlight=False)
