"""All stops in memory: whether a session is stopped is a few look-ups in a dictionary, and mostly none."""

from collections.abc import Iterable

from addons.state.store import Kind, Scope, Stop


class Stops:
    """The stops of one moment; never changed, but replaced whole."""

    def __init__(self, stops: Iterable[Stop] = ()) -> None:
        self._stops: dict[tuple[Kind, Scope, str], Stop] = {(s.kind, s.scope, s.target): s for s in stops}

    def of(self, session: str, subject: str, issued: float) -> Stop | None:
        """What stops a session, or None. `issued`: the older of its sign-in and its web identity token, in seconds.

        A second is as exact as tokens are, so what was issued within the second of a revocation counts as before it.
        """
        if not self._stops:
            return None
        found = self.frozen(session, subject) or self._stops.get(("revoke", "session", session))
        if found is None:
            revoked = self._stops.get(("revoke", "subject", subject))
            found = revoked if revoked and issued <= revoked.at else None
        return found

    def frozen(self, session: str = "", subject: str = "") -> Stop | None:
        """The freeze that a session or a subject is under; without either, the one of all."""
        get = self._stops.get
        found = get(("freeze", "all", ""))
        found = found or (get(("freeze", "session", session)) if session else None)
        return found or (get(("freeze", "subject", subject)) if subject else None)
