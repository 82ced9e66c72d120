"""What memq needs of a broker, on other versions of RabbitMQ than this machine's: `scripts/brokers` prepares them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stack import chroot

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ENVIRONMENT = dict(os.environ)  # before a fixture takes out what selects the broker
ROOT = Path(__file__).parents[2]
WITHIN_SECONDS = 1500.0


def trees() -> Path:
    """Where `scripts/brokers` puts them."""
    cache = ENVIRONMENT.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(ENVIRONMENT.get("MEMQ_BROKERS") or Path(cache, "memq", "brokers"))


@pytest.mark.timeout(WITHIN_SECONDS + 60)
@pytest.mark.parametrize("version", ["4.0", "4.3"])
def test_what_memq_needs_of_a_broker_is_so(version: str) -> None:
    tree = trees() / version
    if (reason := chroot.problem(tree)) is not None:
        pytest.skip(f"RabbitMQ {version}: {reason} (scripts/brokers {version})")
    without = {name: value for name, value in ENVIRONMENT.items() if not name.startswith(("MEMQ_", "PYTEST_"))}
    marked = ["-m", "broker_semantics and not long", "tests/integration", "tests/chaos"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *marked],
        env={**without, "MEMQ_BROKER_ROOT": str(tree)},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN_SECONDS,
        check=False,
    )
    output = ran.stdout + ran.stderr
    assert ran.returncode == 0, output[-5000:]
    assert re.search(rf"testing with .*, RabbitMQ {re.escape(version)}\.", output), output[:500]
    assert re.search(r"\d\d+ passed", output), output[-500:]
    assert os.path.ismount(tree / "proc") is False, "what the node mounted is still there"
