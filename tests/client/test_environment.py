"""What a command is given: the way to the gateway for every client, and nothing of the operator's."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from addons import config
from certs.authority import Authority
from scripts.client import defaults
from scripts.client.environment import DROPPED, child_environment, script, variables, ways_around
from scripts.client.files import Directory, fill
from tests import tools

ROLE = "arn:aws:iam::111122223333:role/agent"
OPERATOR = {
    "PATH": "/bin",
    "HOME": "/home/ada",
    "AWS_ACCESS_KEY_ID": "AKIAREAL",
    "AWS_SECRET_ACCESS_KEY": "real",
    "AWS_SESSION_TOKEN": "real",
    "AWS_PROFILE": "admin",
    "AWS_ENDPOINT_URL_S3": "https://elsewhere.example.com",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1/credentials",
    "aws_access_key_id": "AKIAREAL",
    "NO_PROXY": "amazonaws.com",
    "no_proxy": "*",
    "ALL_PROXY": "socks5://proxy.example.com",
    "https_proxy": "http://proxy.example.com",
    "SLUICEGATE_CONFIG": "/home/ada/gateway.yaml",
    "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1000/bus",
    "NODE_OPTIONS": "--max-old-space-size=4096",
    "JAVA_TOOL_OPTIONS": "-Xmx1g",
}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "ca", ["amazonaws.com"])


@pytest.fixture
def settings(authority: Authority, tmp_path: Path) -> dict[str, str]:
    """For files in a place that a shell, Node and Java each have to be told of with care."""
    place = tmp_path / 'an agent\'s "$(touch x)" place'
    place.mkdir()
    return variables(
        proxy="http://127.0.0.1:8080", files=fill(place, authority.root, OPERATOR), role=ROLE,
        session_name="agent/ada lovelace", region="eu-west-1",
    )  # fmt: skip


@pytest.fixture
def given(settings: dict[str, str]) -> dict[str, str]:
    return child_environment(OPERATOR, settings)


def test_nothing_of_the_operators_access_is_left(given: dict[str, str]) -> None:
    text = "\n".join(f"{name}={value}" for name, value in given.items())
    for word in (
        "AKIAREAL",
        "real",
        "admin",
        "elsewhere",
        "amazonaws",
        "socks5",
        "proxy.example",
        "/run/user",
        ".yaml",
    ):
        assert word not in text.replace(ROLE, "")
    assert (given["PATH"], given["HOME"]) == ("/bin", "/home/ada")


def test_every_kind_of_client_is_led_to_the_gateway(given: dict[str, str]) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        assert given[name] == "http://127.0.0.1:8080"
    assert given["NO_PROXY"] == given["no_proxy"] == "localhost,127.0.0.1,::1"
    assert given["NODE_OPTIONS"].startswith('--max-old-space-size=4096 --require="/')
    java = given["JAVA_TOOL_OPTIONS"].split()
    assert java[0] == "-Xmx1g"
    assert {"-Dhttps.proxyHost=127.0.0.1", "-Dhttps.proxyPort=8080"} <= set(java)


@pytest.mark.parametrize("shell", ["dash", "bash", "zsh"])
def test_a_shell_that_reads_the_script_gives_a_child_the_same(
    settings: dict[str, str], given: dict[str, str], tmp_path: Path, shell: str
) -> None:
    if not (program := shutil.which(shell)):
        pytest.skip(f"NOT TESTED: no {shell}")
    file = tmp_path / "env.sh"
    file.write_text(script(settings))
    operator = OPERATOR | {"AWS_ENDPOINT_URL": "a\nAWS_NOT=a name", "PATH": os.environ["PATH"]}
    ran = subprocess.run(
        [program, "-euc", '. "$1"; exec env -0', shell, file], capture_output=True, text=True, check=True,
        env=operator, cwd=tmp_path,
    )  # fmt: skip
    assert ran.stderr == ""
    found = dict(entry.split("=", 1) for entry in ran.stdout.split("\0") if entry)
    of_the_sandbox = set(DROPPED) & OPERATOR.keys()
    of_a_shell = {"PATH", "PWD", "OLDPWD", "SHLVL", "_", "A__z", "LOGNAME"}
    assert {n: v for n, v in found.items() if n not in of_the_sandbox | of_a_shell} == {
        n: v for n, v in given.items() if n not in of_a_shell
    }
    assert not (tmp_path / "x").exists()


def test_node_finds_the_preload_file_there(settings: dict[str, str]) -> None:
    node = tools.need(tools.node)
    show = "console.log(Object.keys(require.cache).length)"
    environ = {name: settings[name] for name in ("NODE_OPTIONS", "HTTPS_PROXY")}
    assert subprocess.run([node.program, "-e", show], env=environ, capture_output=True, check=True).stdout == b"1\n"


@pytest.mark.skipif(not shutil.which("java"), reason="NOT TESTED: no java")
def test_java_finds_the_trust_store_there(settings: dict[str, str]) -> None:
    ran = subprocess.run(
        ["java", "-XshowSettings:properties", "-version"], capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"], "JAVA_TOOL_OPTIONS": settings["JAVA_TOOL_OPTIONS"]},
    )  # fmt: skip
    shown = dict(line.strip().partition(" = ")[::2] for line in ran.stderr.splitlines())
    assert Path(shown["javax.net.ssl.trustStore"]).name == "trust.p12"
    assert Path(shown["javax.net.ssl.trustStore"]).is_file()
    assert (shown["https.proxyHost"], shown["https.proxyPort"]) == ("127.0.0.1", "8080")


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, []),
        ({"HTTPS_PROXY": "http://127.0.0.1:8080", "https_proxy": "http://127.0.0.1:8080/"}, []),
        ({"NO_PROXY": "localhost, 127.0.0.1,::1,.internal", "no_proxy": "myamazonaws.com"}, []),
        ({"AWS_REGION": "us-east-1", "AWS_CA_BUNDLE": "/a"}, []),
        ({"HTTPS_PROXY": "http://proxy.example.com:3128"}, ["HTTPS_PROXY"]),
        ({"all_proxy": "socks5://127.0.0.1:1080"}, ["all_proxy"]),
        ({"NO_PROXY": "*"}, ["NO_PROXY"]),
        ({"no_proxy": "localhost,.amazonaws.com"}, ["no_proxy"]),
        ({"no_proxy": "localhost AMAZONAWS.COM:443"}, ["no_proxy"]),
        ({"NO_PROXY": "*.s3.us-east-1.amazonaws.com"}, ["NO_PROXY"]),
        ({"NO_PROXY": "com"}, ["NO_PROXY"]),
        ({"AWS_ENDPOINT_URL_S3": "https://a.example"}, ["AWS_ENDPOINT_URL_S3"]),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1/"}, ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]),
    ],
)
def test_what_leads_around_the_gateway_is_found(environ: dict[str, str], found: list[str]) -> None:
    assert ways_around(environ, "http://127.0.0.1:8080", ["amazonaws.com", "api.aws"]) == found


def test_a_proxy_is_another_one_where_no_gateway_runs() -> None:
    assert ways_around({"https_proxy": "http://127.0.0.1:8080"}, None, []) == ["https_proxy"]


def test_aws_clients_sign_in_by_the_token_and_find_no_other_credentials(given: dict[str, str]) -> None:
    assert given["AWS_ROLE_ARN"] == ROLE
    assert given["AWS_ROLE_SESSION_NAME"] == "agent-ada-lovelace"  # STS: [\w+=,.@-]{2,64}
    assert given["AWS_CONFIG_FILE"] == given["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert given["AWS_EC2_METADATA_DISABLED"] == "true"
    assert given["AWS_REGION"] == given["AWS_DEFAULT_REGION"] == "eu-west-1"


def test_clients_trust_the_systems_roots_and_ours(authority: Authority) -> None:
    with Directory(authority.root, {}, lambda: b"token") as directory:
        files = directory.files
        environment = variables(proxy="http://127.0.0.1:1", files=files, role=ROLE, session_name="a", region=None)
        (ours,) = x509.load_pem_x509_certificates(files.root.read_bytes())
        whole = files.bundle.read_bytes()
        assert authority.root.read_bytes() in whole
        assert whole.count(b"BEGIN CERTIFICATE") > 50
        with Directory(authority.root, {"SSL_CERT_FILE": str(files.bundle)}, lambda: b"token") as again:
            assert again.files.bundle.read_bytes() == whole  # made anew where it is in force, it does not grow
        assert ("AWS_CA_BUNDLE" in environment) == (sys.platform == "darwin")  # rclone would not start with it
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO"):
            assert environment[name] == str(files.bundle)
        assert ours.subject.rfc4514_string().startswith("CN=sluicegate root")


def test_the_operators_own_roots_are_in_the_bundle(authority: Authority, tmp_path: Path) -> None:
    company = Authority.open(tmp_path / "company", ["example.com"])
    with Directory(authority.root, {"SSL_CERT_FILE": str(company.root)}, lambda: b"token") as directory:
        assert company.root.read_bytes().strip() in directory.files.bundle.read_bytes()
        assert company.root.read_bytes().strip() not in directory.files.root.read_bytes()


def test_the_directory_is_private_renewed_and_gone_afterwards(authority: Authority) -> None:
    tokens = iter([b"first", b"second"])
    with Directory(authority.root, {}, lambda: next(tokens)) as directory:
        assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700
        assert stat.S_IMODE(directory.files.token.stat().st_mode) == 0o600
        assert directory.files.token.read_bytes() == b"first"
        directory.refresh()
        assert directory.files.token.read_bytes() == b"second"
    assert not directory.path.exists()


def test_a_directory_that_can_not_be_filled_leaves_nothing_behind(tmp_path: Path) -> None:
    before = set(Path(os.environ.get("TMPDIR", "/tmp")).glob("sluicegate-run-*"))
    with pytest.raises(FileNotFoundError):
        Directory(tmp_path / "no-root.pem", {}, lambda: b"token")
    assert set(Path(os.environ.get("TMPDIR", "/tmp")).glob("sluicegate-run-*")) <= before


@pytest.mark.parametrize("bedrock", [False, True])
@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:5000"])
def test_the_configuration_that_run_makes_is_good_private_and_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bedrock: bool, endpoint: str | None
) -> None:
    monkeypatch.setattr("addons.identity.upstream.Upstream.account", lambda _: "111122223333")
    environ = {"HOME": str(tmp_path)}
    file, account, made = defaults.configuration(environ, region="cn-north-1", bedrock=bedrock, endpoint=endpoint)
    assert (account, made) == ("111122223333", True)
    assert tmp_path / ".local" / "state" / "sluicegate" in file.parents
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)
    found = config.load(file).config
    assert found.groups["agents"].roles == ["arn:aws-cn:iam::111122223333:role/agent"]
    assert found.groups["agents"].policies == ["agent-default", *(["bedrock-invoke"] if bedrock else [])]
    assert found.identity.local
    assert found.upstream.endpoint == endpoint
    assert isinstance(found.other_hosts, config.Tunnel)
    assert found.other_hosts.tunnel == "all"
    file.write_text(file.read_text() + "# mine\n")
    assert defaults.configuration(environ, region=None, bedrock=bedrock, endpoint=endpoint)[2] is False
    assert file.read_text().endswith("# mine\n")


def test_a_relative_state_home_is_ignored() -> None:
    assert defaults.home({"XDG_STATE_HOME": "here", "HOME": "/home/ada"}) == Path("/home/ada/.local/state/sluicegate")
    assert defaults.home({"XDG_STATE_HOME": "/s", "HOME": "/home/ada"}) == Path("/s/sluicegate")
