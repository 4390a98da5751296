"""Saying something seldom: what an agent can bring about often must fill neither a disk, a terminal nor the time."""

import time


class Seldom:
    """True once in `seconds`, then false until they are over."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.last = float("-inf")

    def __call__(self) -> bool:
        """Whether it may be said now; if so, the time begins anew."""
        if (now := time.monotonic()) - self.last <= self.seconds:
            return False
        self.last = now
        return True
