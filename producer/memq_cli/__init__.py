"""The `memq` command."""

from memq_cli.app import main

__all__ = ["main"]
