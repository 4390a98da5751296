"""The Node preload: whatever a program uses to connect, it goes through the proxy and trusts our root."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from certs.authority import Authority
from scripts.client.files import PRELOAD
from tests.client.proxy import Proxy

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="NO NODE: the preload is untested")
HOST = "dynamodb.us-east-1.amazonaws.com"
READ = """
const read = (response) => { let s = ""; response.on("data", d => s += d).on("end", () => console.log(s)); };
const fail = (error) => console.log(JSON.stringify({error: error.message, cause: error.cause?.message}));
"""


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    made = Proxy(Authority.open(tmp_path / "ca", ["amazonaws.com"]))
    yield made
    made.close()


def node(proxy: Proxy, program: str, name: str = "program.cjs", **environment: str) -> list[dict[str, str]]:
    """Run a program with nothing but what `run` gives it; its lines of JSON."""
    file = proxy.authority.directory.parent / name
    file.write_text(program)
    ran = subprocess.run(
        ["node", file],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HTTPS_PROXY": proxy.url,
            "NO_PROXY": "localhost,127.0.0.1,::1",
            "NODE_EXTRA_CA_CERTS": str(proxy.authority.root),
            "NODE_OPTIONS": f"--require={PRELOAD}",
        }
        | environment,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return [json.loads(line) for line in ran.stdout.splitlines()]


WAYS = {
    "the global agent": f'require("https").get("https://{HOST}/x", read).on("error", fail);',
    "an agent as the AWS SDK makes it": f"""
        const agent = new (require("https").Agent)({{keepAlive: true, maxSockets: 50}});
        const done = (r) => {{ read(r); r.on("end", () => agent.destroy()); }};
        require("https").request({{host: "{HOST}", path: "/x", agent}}, done).on("error", fail).end();""",
    "a subclass": f"""
        class Own extends require("https").Agent {{}}
        require("https").get("https://{HOST}/x", {{agent: new Own()}}, read).on("error", fail);""",
    "fetch": f'fetch("https://{HOST}/x").then(r => r.json()).then(j => console.log(JSON.stringify(j)), fail);',
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_connect_goes_through_the_proxy(proxy: Proxy, way: str) -> None:
    assert node(proxy, READ + WAYS[way]) == [{"connect": f"{HOST}:443", "line": "GET /x HTTP/1.1"}]


def test_modules_that_import_go_through_the_proxy(proxy: Proxy) -> None:
    program = f"""import {{ Agent, request }} from "node:https"; {READ}
        request({{host: "{HOST}", path: "/x", agent: new Agent()}}, read).on("error", fail).end();"""
    assert node(proxy, program, "program.mjs") == [{"connect": f"{HOST}:443", "line": "GET /x HTTP/1.1"}]


def test_connections_are_kept_alive(proxy: Proxy) -> None:
    program = f"""
        const https = require("https"), agent = new https.Agent({{keepAlive: true}});
        const get = () => new Promise((done, fail) => https.get("https://{HOST}/x", {{agent}}, r => {{
          const {{ localPort }} = r.socket;
          r.resume().on("end", () => setImmediate(done, localPort)); }}).on("error", fail));
        (async () => {{ console.log(JSON.stringify({{same: await get() === await get()}})); agent.destroy(); }})();"""
    assert node(proxy, program) == [{"same": True}]


def test_many_fetches_at_once_all_arrive(proxy: Proxy) -> None:
    program = f"""
        Promise.all(Array.from({{length: 20}}, (_, i) => fetch("https://{HOST}/" + i, {{method: "POST", body: "x"}})
          .then(r => r.json()))).then(all => all.forEach(j => console.log(JSON.stringify(j))));"""
    assert {found["line"] for found in node(proxy, program)} == {f"POST /{i} HTTP/1.1" for i in range(20)}


def test_a_name_that_the_authority_may_not_speak_for_is_refused(proxy: Proxy) -> None:
    for way in ("the global agent", "fetch"):
        (found,) = node(proxy, READ + WAYS[way].replace(HOST, "example.com"))
        assert "permitted subtree violation" in (found.get("cause") or found["error"])
    assert proxy.seen == []


def test_the_proxys_refusal_is_told(proxy: Proxy) -> None:
    proxy.forbidden.add("example.com")
    for way in ("the global agent", "fetch"):
        (found,) = node(proxy, READ + WAYS[way].replace(HOST, "example.com"))
        assert "403 not served." in (found.get("cause") or found["error"])


def test_a_proxy_that_is_gone_is_an_error_and_no_direct_connection(proxy: Proxy) -> None:
    proxy.close()
    for way in ("the global agent", "fetch"):
        (found,) = node(proxy, READ + WAYS[way])
        assert "ECONNREFUSED" in (found.get("cause") or found["error"])


def test_loopback_and_plain_sockets_are_left_alone(proxy: Proxy) -> None:
    program = (
        READ
        + """
        const server = require("http").createServer((q, r) => r.end('{"plain": "yes"}'));
        server.listen(0, "127.0.0.1", async () => {
          console.log(await (await fetch("http://127.0.0.1:" + server.address().port)).text());
          require("http").get({port: server.address().port, host: "127.0.0.1"}, r => { read(r); server.close(); });
        });"""
    )
    assert node(proxy, program) == [{"plain": "yes"}, {"plain": "yes"}]
    assert proxy.seen == []


def test_without_a_proxy_nothing_is_touched(proxy: Proxy) -> None:
    program = """
        const connects = String(require("https").Agent.prototype.createConnection);
        console.log(JSON.stringify({own: !connects.includes("throughProxy")}));"""
    assert node(proxy, program, HTTPS_PROXY="") == [{"own": True}]
    assert node(proxy, program) == [{"own": False}]
