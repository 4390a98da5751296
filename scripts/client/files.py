"""The files of a program behind the gateway: what it needs to trust the gateway and to sign in.

`fill` writes them for `sluicegate env`; `Directory` keeps them for a command of `sluicegate run`, with a token that
never grows old.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from addons.state import private_file
from certs import bundles
from scripts.client.environment import Files

PRELOAD = Path(__file__).parent / "node_preload.cjs"
OWN_BUNDLES = (  # where operators name the roots of their company
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
)


def fill(place: Path, root: Path, environ: Mapping[str, str]) -> Files:
    """Write all but the token into a directory: the roots, with those of the operator's company, and Node's preload.

    `root`: the authority's `root.pem`. Each file is replaced in one step, as programs may be reading it. Raises OSError
    and ValueError.
    """
    files = Files(*(place / name for name in ("root.pem", "bundle.pem", "trust.p12", "token", "node.cjs")))
    ours = root.read_bytes()
    own = {Path(environ[name]) for name in OWN_BUNDLES if environ.get(name)}
    whole = bundles.joined(bundles.system_roots(), *map(bundles.read_pem, sorted(own)), ours)
    private_file.replace(files.root, ours)
    private_file.replace(files.bundle, whole)
    private_file.replace(files.trust_store, bundles.java_trust_store(whole))
    private_file.replace(files.preload, PRELOAD.read_bytes())
    return files


class Directory:
    """A temporary directory (0700) that the command may read. Use as a context: it is gone afterwards."""

    def __init__(
        self, root: Path, environ: Mapping[str, str], token: Callable[[], bytes], place: Path | None = None
    ) -> None:
        """Copy the roots from the authority's `root.pem`. `token` makes a new token each time it is called.

        `place`: where it is made. Each sandbox hides that place but for its own directory: one agent must not find
        the token of another.
        """
        if place:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = Path(tempfile.mkdtemp(prefix="sluicegate-run-", dir=place)).resolve()
        self._token = token
        try:
            self.files = fill(self.path, root, environ)
            self.refresh()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def refresh(self) -> None:
        """Write a new token; a client that reads meanwhile sees the old or the new, whole."""
        private_file.replace(self.files.token, self._token())

    def close(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self.path, ignore_errors=True)
