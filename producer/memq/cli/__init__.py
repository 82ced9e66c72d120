"""The `memq` command."""

from memq.cli.app import main

__all__ = ["main"]
