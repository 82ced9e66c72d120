"""Runs git on the repository, for tests that read its history or its list of files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Return the finished command; skip the test on a machine without git, as a bare Debian is."""
    if shutil.which("git") is None:
        pytest.skip("no git on this machine")
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
