"""CPU that programs spend before their first statement, in seconds of user and system time.

python -m tests.benchmarks.startup             the least of five runs each
python -m tests.benchmarks.startup --runs 20
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

PROGRAMS = {
    "import memq": [sys.executable, "-c", "import memq"],
    "from memq import Producer": [sys.executable, "-c", "from memq import Producer"],
    "memq --version": [str(Path(sys.executable).with_name("memq")), "--version"],
    "memq count --help": [str(Path(sys.executable).with_name("memq")), "count", "--help"],
    "memq-worker --version": [str(Path(sys.executable).with_name("memq-worker")), "--version"],
}


def cpu_seconds(line: list[str]) -> float:
    """Run a program to its end and return its CPU time."""
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, line
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    for name, line in PROGRAMS.items():
        sys.stdout.write(f"{name:28} {min(cpu_seconds(line) for _ in range(runs)):.2f} s\n")


if __name__ == "__main__":
    main()
