"""Processes that a test run has started and not ended, found by a variable that all of them inherit."""

from __future__ import annotations

import os
import secrets
import time

import psutil

RUN = "TEST_RUN"
END_SECONDS = 10.0


def mark() -> str:
    """Set the variable for whatever this process starts from now on, and return its value."""
    os.environ[RUN] = secrets.token_hex(8)
    return os.environ[RUN]


def leftovers(run: str, within: float = END_SECONDS) -> list[str]:
    """Kill the processes of `run` that have not ended `within` seconds. Returns their commands and the tests' names."""
    deadline = time.monotonic() + within
    while (left := _alive(run)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for process, _ in left:
        process.kill()
    return [f"{' '.join(process.info['cmdline'])}, started by {test}" for process, test in left]


def _alive(run: str) -> list[tuple[psutil.Process, str]]:
    """Processes that cannot be looked into, such as zombies, are not among them."""
    found: list[tuple[psutil.Process, str]] = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        environ = process.info["environ"] or {}
        if environ.get(RUN) == run and process.pid != os.getpid():
            found.append((process, environ.get("PYTEST_CURRENT_TEST", "no test")))
    return found
