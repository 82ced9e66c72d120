"""Pauses between attempts. The jitter keeps a restarted broker from being met by every client at once."""

import random

from tenacity import wait_exponential_jitter

CONNECTING = wait_exponential_jitter(multiplier=0.2, max=5, jitter=0.5)
"""Seconds between attempts to connect, up to 5.5."""


def doubled(failures: int, first: float, most: float) -> float:
    """Return `first` seconds for the first failure in a row, and twice as many after each, up to `most`."""
    return min(most, first * 2 ** min(failures - 1, 16))


def jittered(failures: int, first: float, most: float) -> float:
    """Return the seconds of `doubled` or up to half of them fewer, at random."""
    return doubled(failures, first, most) * random.uniform(0.5, 1.0)
