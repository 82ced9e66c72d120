"""Pauses between attempts to connect."""

from tenacity import wait_exponential_jitter

CONNECTING = wait_exponential_jitter(multiplier=0.2, max=5, jitter=0.5)
"""Seconds, up to 5.5. The jitter keeps a restarted broker from being met by every client at once."""
