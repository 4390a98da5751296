"""What the sandboxed command must not see or change, as a list of mounts; which tool makes them is not known here.

Nothing of the gateway or of the operator's AWS access is visible, and nothing that the running gateway reads, or that
runs by itself as the operator later, can be written. Everything else stays as it is: an agent works on real projects.
"""

import contextlib
import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

Mount = tuple[str, str]  # (kind, path); kinds: see `Walls.mounts`

AWS_PLACES = (  # beside ~/.aws
    *(".awsvault", ".granted", ".saml2aws", ".boto", ".s3cfg", ".passwd-s3fs"),
    ".cache/sluicegate",  # what `sluicegate credentials` keeps
)
AWS_FILES = (  # variables that name files with credentials
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)
BROWSERS = (  # their cookies sign in to the approver's screen
    ".mozilla",
    ".config/google-chrome",
    ".config/chromium",
    ".config/BraveSoftware",
    ".config/microsoft-edge",
    ".config/vivaldi",
    "snap/firefox",
    "snap/chromium",
    ".var/app",
)
DISPLAYS = (".Xauthority", ".ICEauthority")  # who has these types on the operator's screen
START_UP = (  # run as the operator without being asked for
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".bash_aliases",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".config/fish",
    ".config/systemd",
    ".config/autostart",
    ".config/environment.d",
    ".local/share/systemd",
    ".pam_environment",
    ".xprofile",
    ".ssh",
)
RESOLVERS = ("/run/systemd/resolve", "/run/nscd", "/run/avahi-daemon")  # sockets that look up names only
MOST_SOCKETS = 500


@dataclass(frozen=True, slots=True)
class Walls:
    """Paths by what happens to them. All are real paths that exist; `mounts` puts them in order."""

    hide: frozenset[Path] = field(default_factory=frozenset)  # an empty directory or file is there instead
    keep: frozenset[Path] = field(default_factory=frozenset)  # can be read, not written
    expose: frozenset[Path] = field(default_factory=frozenset)  # under a hidden directory, and visible all the same
    show: frozenset[Path] = field(default_factory=frozenset)  # the same, but not to be written
    writable: frozenset[Path] | None = None  # only these can be written at all; None: what the user can write

    def mounts(self) -> list[Mount]:
        """The mounts, outermost first.

        `all-read-only` the whole tree; `bind` a directory on itself; `write` the same, writable under
        `all-read-only`; `read-only` the same, not writable; `empty` a directory of its own; `nothing` an unreadable
        file; `expose` a path of the outer tree; `show` the same, not writable.

        A mount point can't be renamed from inside, but a directory above it can, and another one put in its place,
        which the gateway would read: so every directory above that the command could rename becomes a mount as well.
        """
        pinned = {above for path in self.hide | self.keep for above in path.parents if _renamable(above)}
        found: list[Mount] = []
        placed: dict[Path, str] = dict.fromkeys(pinned, "bind")
        if self.writable is not None:
            found.append(("all-read-only", "/"))
            placed = {path: "bind" if self._written(path) else "read-only" for path in pinned}
            placed |= dict.fromkeys(self.writable, "write")
        placed |= dict.fromkeys(self.keep, "read-only")
        placed |= {path: "empty" if path.is_dir() else "nothing" for path in self.hide}
        found += [(kind, str(path)) for path, kind in sorted(placed.items()) if not self._hidden_above(path)]
        shown = dict.fromkeys(self.expose, "expose") | dict.fromkeys(self.show, "show")
        return found + [(kind, str(path)) for path, kind in sorted(shown.items())]

    def _written(self, path: Path) -> bool:
        return any(path == place or place in path.parents for place in self.writable or ())

    def _hidden_above(self, path: Path) -> bool:
        return any(above in self.hide for above in path.parents)

    def loose_link(self, path: Path) -> Path | None:
        """A symbolic link on the way to a path that the command could lead elsewhere: no mount can hold one."""
        for link in (path, *path.parents):
            place = Path(os.path.realpath(link.parent))
            held = self.hides(place) or any(above in self.keep for above in (place, *place.parents))
            writable = os.access(place, os.W_OK) if self.writable is None else self._written(place)
            if link.is_symlink() and writable and not held:
                return link
        return None

    def hides(self, path: Path) -> bool:
        """Whether a path lies in a hidden directory."""
        return path in self.hide or self._hidden_above(path)


def plan(
    environ: dict[str, str],
    cwd: Path,
    *,
    hide: Iterable[Path],
    keep: Iterable[Path],
    root: bool,
    show: Iterable[Path] = (),
) -> Walls:
    """The walls for this machine, around what the caller names and what is hidden on every machine.

    `root`: the command runs with the system's user 0. It then gets the system's directories read-only, as any other
    user has them: it could otherwise change the libraries that the gateway loads.
    """
    home = Path(environ.get("HOME") or Path.home())
    (home / ".aws").mkdir(mode=0o700, exist_ok=True)  # else the command could make one, and the operator would use it
    homes = {home, *(Path("/home").glob("*") if root else ())}
    with contextlib.suppress(KeyError):  # a container's user may have no account
        homes.add(Path(pwd.getpwuid(os.getuid()).pw_dir))
    runtimes = set(Path("/run/user").glob("*")) if root else {Path(f"/run/user/{os.getuid()}")}
    hidden = {*hide, *runtimes, *(at / name for at in homes for name in (".aws", *AWS_PLACES, *BROWSERS, *DISPLAYS))}
    hidden |= {Path(environ[name]) for name in (*AWS_FILES, "XAUTHORITY", "ICEAUTHORITY") if environ.get(name)}
    hidden |= {Path(f"/tmp/tmux-{os.getuid()}"), Path("/tmp/.X11-unix"), *_sockets()}  # noqa: S108
    if directory := environ.get("TMUX_TMPDIR"):
        hidden.add(Path(directory) / f"tmux-{os.getuid()}")
    kept = {*keep, *(at / name for at in homes for name in START_UP)}
    agent = Path(environ.get("SSH_AUTH_SOCK") or os.devnull)
    exposed = {agent} if runtimes & set(agent.parents) else set()
    writable = None
    if root:
        places = {home, cwd, Path("/tmp"), Path("/var/tmp")} - {Path("/")}  # noqa: S108
        writable = frozenset(_real(places))
    return Walls(
        hide=frozenset(_real(hidden) - _real({Path(os.devnull)})),
        keep=frozenset(_real(kept)),
        expose=frozenset(_real(exposed)),
        show=frozenset(_real(show)),
        writable=writable,
    )


def _real(paths: Iterable[Path]) -> set[Path]:
    """The paths that exist, without symbolic links: a mount on a link would be one on its target."""
    return {Path(os.path.realpath(path)) for path in paths if path.exists()}


def _renamable(path: Path) -> bool:
    """Whether this user may rename a directory, which takes writing the one above it."""
    return path.parent != path and os.access(path.parent, os.W_OK)


def _sockets() -> set[Path]:
    """The system's sockets that this user may talk to: docker, D-Bus, systemd ... run programs outside of the walls."""
    found: set[Path] = set()
    for directory, names, files in os.walk("/run"):
        names[:] = [name for name in names if os.path.join(directory, name) not in (*RESOLVERS, "/run/user")]
        for name in files:
            path = Path(directory, name)
            try:
                kind = path.lstat().st_mode
            except OSError:
                continue
            if (stat.S_ISSOCK(kind) or stat.S_ISFIFO(kind)) and os.access(path, os.W_OK):
                found.add(path)
        if len(found) > MOST_SOCKETS:
            raise ValueError("there are too many sockets under /run to hide them one by one")
    return found
