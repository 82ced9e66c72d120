"""Writes on this machine's disk until the broker has confirmed them."""

from memq.outbox.outbox import Outbox

__all__ = ["Outbox"]
