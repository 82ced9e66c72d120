from __future__ import annotations

import random
import socket
from contextlib import ExitStack

# Below the range Linux takes outgoing ports from (32768 and up), so that no client's own socket can take one
# between the choice and the bind. Two parallel runs can still choose the same: whoever binds second chooses again.
RANGE = range(20_000, 32_000)
SHARES = 8
_chosen_from = RANGE


def choose_among(share: int) -> None:
    """Take ports from one of SHARES parts of the range from now on, as parallel test processes do."""
    global _chosen_from  # noqa: PLW0603
    _chosen_from = RANGE[share % SHARES :: SHARES]


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """`count` different ports that could be bound a moment ago."""
    chosen: list[int] = []
    with ExitStack() as held:
        for port in random.sample(_chosen_from, len(_chosen_from)):
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
