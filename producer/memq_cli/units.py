"""Ages and sizes in words."""

from __future__ import annotations

from datetime import timedelta


def age(seconds: float) -> str:
    """Return a time span in its largest unit: "5 seconds", "an hour", "40 days"."""
    from humanize import naturaldelta

    return naturaldelta(timedelta(seconds=max(seconds, 0)), months=False)


def size(number: int) -> str:
    """Return a number of bytes in its largest decimal unit: "3.6 kB"."""
    from humanize import naturalsize

    return naturalsize(number)
