from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memq.connection.session import Session
    from memq.connection.silence import Silence

NACK_PAUSE_SECONDS = 0.05
NACK_PAUSE_LIMIT_SECONDS = 1.0


class Attempt:
    """State of the attempts at one message."""

    waiting: tuple[Session, Silence, float] | None = None
    confirmed = False
    uncertain = False
    _reason: str | None = None
    _nacked: float | None = None
    _pause = NACK_PAUSE_SECONDS

    def lost(self, reason: str) -> None:
        """Nothing more is heard of it; it may have arrived."""
        self._reason = reason
        self.waiting = None
        self.uncertain = True
        self.confirmed = False

    def refused(self, reason: str) -> None:
        """It still waits for a confirm, which another session may give."""
        self._reason = reason
        self.confirmed = False

    def nacked(self) -> float:
        """Return the loop time of the first nack of the message, which is now unless there was one before."""
        if self._nacked is None:
            self._nacked = asyncio.get_running_loop().time()
        return self._nacked

    def pause(self) -> float:
        self._pause, now = min(self._pause * 2, NACK_PAUSE_LIMIT_SECONDS), self._pause
        return now * random.uniform(0.5, 1.0)

    def hindrance(self) -> str:
        if self.confirmed:
            return "the message is queued but no worker has answered; is one running?"
        if self._reason is not None:
            return self._reason
        if self.waiting is not None:
            return "the broker is silent; is it in a memory or disk alarm?"
        return "the broker has not made the reply queue yet"
