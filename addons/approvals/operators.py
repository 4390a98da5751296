"""Who may use the screen: the person at the machine, by a one-time link or by the token in the state directory.

The agent can read neither: the link is printed on the operator's terminal, the token file belongs to the operator.
"""

import hmac
import os
import secrets
from pathlib import Path

OPERATOR = "local-operator"
FILE = "operator.token"
UNUSED = 100  # links that wait to be opened; a newer one pushes the oldest out


class Operators:
    """One-time links and the terminal's token. A new gateway makes new ones.

    Wrong tries are not counted: 192 random bits can't be guessed, and a count would let an agent lock people out.
    """

    def __init__(self, state: Path) -> None:
        self._token = secrets.token_urlsafe(32)
        self._links: list[str] = []
        self.key = secrets.token_urlsafe(32)  # what a signed-in page keeps, and shows with each of its requests
        path = state / FILE
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self._token)

    def link(self) -> str:
        """A token that signs one browser in, once."""
        link = secrets.token_urlsafe(24)
        self._links = [*self._links, link][-UNUSED:]
        return link

    def use_link(self, given: str) -> bool:
        """Whether a link's token is good, for this once."""
        for link in self._links:
            if hmac.compare_digest(given.encode(), link.encode()):
                self._links.remove(link)
                return True
        return False

    def is_page(self, given: str) -> bool:
        """Whether a request comes from a page that a link has signed in."""
        return hmac.compare_digest(given.encode(), self.key.encode())

    def is_terminal(self, given: str) -> bool:
        """Whether somebody read the token file."""
        return hmac.compare_digest(given.encode(), self._token.encode())
