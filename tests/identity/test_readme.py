"""The README's agents in CI and in Kubernetes: its rules, its job and its pod do what the text says."""

import http.server
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from addons import config
from addons.identity.groups import groups_of
from addons.issuers import issuers_of
from tests import test_readme
from tests.identity.test_groups import GITHUB, KUBERNETES


def block(file: str) -> str:
    (found,) = (block["text"] for block in test_readme.blocks("yaml") if block["file"] == file)
    return str(found)


def groups(tmp_path: Path, index: int, claims: dict[str, Any]) -> tuple[str, ...]:
    """The groups that the README's issuers give these claims."""
    bound = {"groups": yaml.safe_load(block("gateway.yaml"))["groups"]}
    (tmp_path / "policy.yaml").write_text("version: 1\npolicies: []\n")
    (tmp_path / "gateway.yaml").write_text(block("issuers.yaml") + yaml.safe_dump(bound))
    issuer = issuers_of(config.load(tmp_path / "gateway.yaml"))[index]
    return groups_of(claims, issuer.groups_claim, issuer.groups_from)


def test_the_rules_let_in_whom_the_text_says(tmp_path: Path) -> None:
    job = GITHUB | {"repository_owner_id": "1234567"}
    assert groups(tmp_path, 0, job) == ("developers",)
    assert groups(tmp_path, 0, job | {"ref": "refs/heads/other"}) == ()
    assert groups(tmp_path, 0, GITHUB) == ()
    assert groups(tmp_path, 1, KUBERNETES) == ("developers",)
    other = {"kubernetes.io": {"namespace": "agents", "serviceaccount": {"name": "other"}}}
    assert groups(tmp_path, 1, KUBERNETES | other) == ()


def test_the_pod_and_the_job_ask_for_the_audience_that_the_issuers_have() -> None:
    (audience,) = {one["audience"] for one in yaml.safe_load(block("issuers.yaml"))["identity"]["issuers"]}
    pod, (step,) = yaml.safe_load(block("pod.yaml")), yaml.safe_load(block("job.yaml"))
    projected = pod["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]
    assert projected["audience"] == audience
    assert f"&audience={audience}" in step["run"]
    given = {one["name"]: one["value"] for one in pod["containers"][0]["env"]}
    mounted = pod["containers"][0]["volumeMounts"][0]
    assert mounted["name"] == pod["volumes"][0]["name"]
    assert given["AWS_WEB_IDENTITY_TOKEN_FILE"] == f"{mounted['mountPath']}/{projected['path']}"
    roles = yaml.safe_load(block("gateway.yaml"))["groups"]["developers"]["roles"]
    assert [given["AWS_ROLE_ARN"]] == [step["env"]["AWS_ROLE_ARN"]] == roles


def test_the_job_gets_its_token(tmp_path: Path) -> None:
    """https://docs.github.com/en/actions/reference/security/oidc: the request that a job makes for its token."""
    for program in ("curl", "jq"):
        if not shutil.which(program):
            pytest.skip(f"NOT TESTED: no {program} here")
    asked: list[tuple[str, str | None]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            body = json.dumps({"value": "a.b.c"}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (step,) = yaml.safe_load(block("job.yaml"))
    (tmp_path / "aws").write_text("#!/bin/sh\ncat $AWS_WEB_IDENTITY_TOKEN_FILE > called\n")
    (tmp_path / "aws").chmod(0o755)
    given = step["env"] | {
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret",
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://127.0.0.1:{server.server_address[1]}/token?api-version=2.0",
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    try:
        subprocess.run(["bash", "-e", "-c", step["run"]], check=True, cwd=tmp_path, env=given, timeout=30)
    finally:
        server.shutdown()
        server.server_close()
    assert asked == [("/token?api-version=2.0&audience=sluicegate", "Bearer secret")]
    assert (tmp_path / "called").read_text() == "a.b.c\n"
