"""Replays: the same signed request a second time, where that can be told from honest traffic.

AWS takes a signed request again for as long as its date is good, and honest clients send alike ones: two calls of boto3
in one second have one signature. But SDKs give each call an `amz-sdk-invocation-id` and count its attempts in
`amz-sdk-request`, so what was signed, invocation and attempt together come once. Clients that send neither pass, as at
AWS. One table a gateway, in memory: another replica, or the same one after a restart, does not know what this one saw.
"""

from hashlib import blake2b

from addons.identity.refusal import Refused

LIMIT = 500_000  # attempts remembered, of some 100 bytes each; above that the ones that end first are forgotten
SPAN = 60  # seconds; attempts are forgotten together


class Replays:
    """The attempts whose signatures are still good, by the minute in which they end. For one thread."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.count = 0
        self._ending: dict[int, set[bytes]] = {}
        self._minute = 0

    def check(self, signed: str, invocation: str | None, attempt: str | None, *, until: float, now: float) -> None:
        """Take note of an attempt. Raises `Refused` for one that came before.

        `signed`: what tells signed requests apart, the key among it; `until`: when the signature ends being good.
        """
        if not (invocation and attempt):
            return
        self._forget(int(now // SPAN))
        digest = blake2b("\0".join((signed, invocation, attempt)).encode("utf-8", "surrogateescape"), digest_size=16)
        ending = self._ending.setdefault(int(until // SPAN), set())
        if (key := digest.digest()) in ending:
            text = "this attempt of this call was received before, and is not carried out twice: let the SDK call anew."
            raise Refused("AccessDenied", text)
        ending.add(key)
        self.count += 1
        while self.count > self.limit:
            self._drop(min(self._ending))

    def _forget(self, minute: int) -> None:
        if minute == self._minute:
            return
        self._minute = minute
        for ended in [each for each in self._ending if each < minute]:
            self._drop(ended)

    def _drop(self, minute: int) -> None:
        self.count -= len(self._ending.pop(minute))
