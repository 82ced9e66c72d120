from __future__ import annotations

import random
import socket
from collections import deque
from contextlib import ExitStack

# Below the range Linux takes outgoing ports from (32768 and up), so that no client's own socket can take one
# between the choice and the bind. Two parallel runs can still choose the same: whoever binds second chooses again.
RANGE = range(20_000, 32_000)
SHARES = 9  # the first is that of programs, the others are those of parallel test processes


def _shuffled(share: int) -> deque[int]:
    ports = RANGE[share::SHARES]
    return deque(random.sample(ports, len(ports)))


# The least recently chosen first: a port that was chosen and is not bound yet is not chosen again.
_turns = _shuffled(0)


def choose_among(share: int) -> None:
    """Take ports from the part of the range that belongs to test process number `share`, counted from 0."""
    global _turns  # noqa: PLW0603
    _turns = _shuffled(1 + share % (SHARES - 1))


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """`count` different ports that could be bound a moment ago."""
    chosen: list[int] = []
    with ExitStack() as held:
        for _ in range(len(_turns)):
            port = _turns.popleft()
            _turns.append(port)
            sock = held.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((host, port))
            except OSError:
                continue
            chosen.append(port)
            if len(chosen) == count:
                return chosen
    raise OSError("no free port on " + host)
