"""scripts/setup on machines without Python, or with one that is too old, acted out by the programs on its PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TOOLS = [
    "cat",
    "chmod",
    "cksum",
    "cut",
    "date",
    "dirname",
    "env",
    "flock",
    "grep",
    "ln",
    "mktemp",
    "mkdir",
    "rm",
    "sed",
    "sh",
    "sleep",
    "tail",
]
SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
# Holds apt's lock once for each command, as an installation that ends meanwhile does.
APT = """#!/bin/sh
echo "$*" >>"$APT_LOG"
if [ ! -e "$APT_LOG.$1" ]; then
    : >"$APT_LOG.$1"
    echo 'E: Could not get lock /var/lib/dpkg/lock-frontend' >&2
    exit 100
fi
[ "$1" != install ] || ln -s "$REAL_PYTHON" "$(dirname "$0")/python3"
"""


class Machine:
    def __init__(self, home: Path) -> None:
        self.programs = home / "bin"
        self.programs.mkdir()
        self.tree = home / "memq"
        (self.tree / "scripts").mkdir(parents=True)
        for script in ("setup", "demo", "serve"):
            shutil.copy(ROOT / "scripts" / script, self.tree / "scripts")
        (self.tree / "requirements.lock").touch()
        (self.tree / "pyproject.toml").write_text("[project]\nname = 'memq'\n")
        self.log = home / "apt.log"
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, tool
            (self.programs / tool).symlink_to(found)

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, script: str = "setup", *arguments: str, user: int = 0) -> subprocess.CompletedProcess[str]:
        self.program("id", f"#!/bin/sh\necho {user}\n")
        environ = {
            "PATH": str(self.programs),
            "APT_LOG": str(self.log),
            "REAL_PYTHON": os.path.realpath(sys.executable),
            "HOME": str(self.tree),
        }
        return subprocess.run(
            [self.tree / "scripts" / script, *arguments], env=environ, capture_output=True, text=True, check=False
        )

    @property
    def installed(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_bare_machine_gets_python_when_the_lock_of_apt_is_free(machine: Machine) -> None:
    machine.program("apt-get", APT)
    ended = machine.run()
    install = "install -y --no-install-recommends python3-venv"
    assert machine.installed == ["update", "update", install, install], ended.stderr
    assert "another installation is running on this machine, waiting" in ended.stderr
    assert (machine.tree / ".venv/bin/python").exists(), ended.stderr


def test_a_user_who_is_not_root_learns_of_all_packages_at_once(machine: Machine) -> None:
    machine.program("apt-get", APT)
    ended = machine.run(user=1000)
    assert (ended.returncode, machine.installed) == (1, [])
    packages = "python3-venv" if SERVER.exists() else "python3-venv rabbitmq-server"
    assert ended.stderr.splitlines() == [
        f"memq: packages are missing: {packages}. "
        f"Run: sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends {packages}'"
    ]


@pytest.mark.parametrize("version", ["3.10.12", None])
def test_a_machine_that_cannot_have_a_new_enough_python_is_told_what_it_has(
    machine: Machine, version: str | None
) -> None:
    if version:
        machine.program("python3", f'#!/bin/sh\n[ "$1" != -c ] || exit 1\necho Python {version}\n')
        machine.program("apt-get", APT)
    ended = machine.run()
    assert (ended.returncode, machine.installed) == (1, [])
    found = f"Python {version}" if version else "none"
    assert ended.stderr.splitlines() == [f"memq needs Python 3.11 or newer, and found: {found}"]


def test_one_that_is_too_old_does_not_win_over_a_good_one(machine: Machine) -> None:
    machine.program("python3", '#!/bin/sh\n[ "$1" != -c ] || exit 1\necho Python 3.9.2\n')
    (machine.programs / "python3.14").symlink_to(os.path.realpath(sys.executable))
    ended = machine.run()
    assert (machine.tree / ".venv/bin/python").exists(), ended.stderr


@pytest.mark.parametrize("script", ["demo", "serve"])
@pytest.mark.parametrize("asked", ["-h", "--help"])
def test_help_needs_no_python_and_installs_nothing(machine: Machine, script: str, asked: str) -> None:
    machine.program("apt-get", APT)
    ended = machine.run(script, asked)
    assert (ended.returncode, ended.stderr, machine.installed) == (0, "", [])
    assert ended.stdout.startswith("Set up everything")
