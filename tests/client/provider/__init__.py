"""oidc-provider for Node, a certified OpenID provider, and a person who signs in on its pages."""

import contextlib
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import requests

from tests import tools

HERE = Path(__file__).parent


def modules() -> Path:
    """The provider's directory in the cache, with all that it needs. Raises `tools.Missing`."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise tools.Missing("an OpenID provider with the device grant needs Node and npm")
    files = [HERE / name for name in ("package.json", "package-lock.json", "provider.mjs")]
    name = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]

    def build(place: Path) -> None:
        for file in files:
            shutil.copy(file, place)
        tools.run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(place))

    return tools.make(f"provider-{name}", build)


@contextlib.contextmanager
def provider() -> Iterator[str]:
    """A running provider: its issuer. Its clients are `sluicegate` alone; whoever signs in is in `developers`."""
    place = tools.need(modules)
    process = subprocess.Popen(
        ["node", "provider.mjs"], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    try:
        issuer = process.stdout.readline().strip()
        assert issuer.startswith("http://127.0.0.1:")
        yield issuer
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class _Form(HTMLParser):
    """The first form of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = found.get("action") or ""
        name = found.get("name")
        if tag in ("input", "button") and name:
            self.fields[name] = found.get("value") or ""


def sign_in(page_with_code: str, person: str = "agent/ada", *, refuse: bool = False) -> None:
    """What a person does in a browser: open the page, confirm the code, sign in, consent (or refuse)."""
    browser = requests.Session()
    browser.trust_env = False
    page = browser.get(page_with_code, timeout=20)
    for _ in range(8):
        form = _Form(page.text)
        if form.action is None:
            break
        fields = form.fields | ({"login": person, "password": "-"} if "login" in form.fields else {})
        if "abort" in fields:
            fields.pop("confirm" if refuse else "abort")
        page = browser.post(urljoin(page.url, form.action), data=fields, timeout=20)
    assert ("Success" in page.text) is not refuse, page.text
