"""docs/how-to/tenants.md: its commands lead from nothing to two tenants."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stack.ports import free_ports
from tests.support.tenants import Tenants

if TYPE_CHECKING:
    from tests.support.broker import Address

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "tenants.md"
SECONDS = 240
COMMANDS = 10


def commands() -> str:
    """The first block of commands of the page."""
    found = re.search(r"## From nothing to two tenants\n\n```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def place(amqp: Address, tmp_path: Path) -> dict[str, str]:
    """Provide the page's assumptions: an administrator's address, and ports that are free."""
    if amqp.management_url is None:
        pytest.skip("needs the management API")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("MEMQ_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MEMQ_AMQP_URL": amqp.url,
        "MEMQ_METRICS_PORT": "0",
        "MEMQ_EMBEDDED_LISTEN": f"127.0.0.1:{free_ports(1)[0]}",
    }


@pytest.mark.slow
def test_the_page_leads_to_two_tenants_in_ten_commands(amqp: Address, place: dict[str, str], tmp_path: Path) -> None:
    text = commands()
    whole = re.sub(r"<<'END'\n.*?\nEND\n", "\n", text, flags=re.DOTALL)
    assert len(whole.splitlines()) == COMMANDS
    # Users are of the broker, and the page's own names may be there.
    run = secrets.token_hex(4)
    host = amqp.url.rpartition("@")[2]
    text = text.replace("-app", f"-{run}").replace("127.0.0.1:5672/%2F", host)
    text = text.replace("http://127.0.0.1:15672", str(amqp.management_url))
    script = f"set -eu\ntrap 'kill $(jobs -p); wait' EXIT\n{text}"
    try:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=place,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    finally:
        api = Tenants(amqp, tmp_path, "")
        for tenant in ("acme", "globex"):
            api.api("DELETE", f"users/{tenant}-{run}")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("acme", "globex"):
        password = (tmp_path / "secrets" / name).read_text()
        assert password
        assert password not in done.stdout + done.stderr
