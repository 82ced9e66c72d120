"""Many seeds, or one to look at: python -m tests.simulation --help"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import nullcontext

from tests.simulation.mutants import MUTANTS
from tests.simulation.world import Report, simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Explore interleavings by seed.")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--seeds", type=int, default=10_000, help="how many (default 10000)")
    parser.add_argument("--seed", type=int, help="this seed alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: print everything that happened")
    parser.add_argument("--mutant", choices=[m.__name__ for m in MUTANTS], help="with the worker broken in this way")
    options = parser.parse_args()
    broken = next((m() for m in MUTANTS if m.__name__ == options.mutant), nullcontext())
    with broken:
        if options.seed is not None:
            return _one(options.seed, options.trace)
        return _many(options.first, options.seeds)


def _one(seed: int, trace: bool) -> int:
    report = simulate(seed)
    for when, *what in report.trace if trace else ():
        print(f"{when:10.4f}", *what)
    print(f"seed {seed}: {report.steps} choices, digest {report.digest[:16]}")
    _tell(report)
    return bool(report.failures)


def _many(first: int, count: int) -> int:
    began, wrong, choices = time.process_time(), 0, 0
    for seed in range(first, first + count):
        report = simulate(seed)
        choices += report.steps
        if report.failures:
            wrong += 1
            _tell(report)
    seconds = time.process_time() - began
    print(f"{count} seeds, {choices} choices, {wrong} seeds wrong, {count / seconds:.0f} seeds per second of CPU")
    return bool(wrong)


def _tell(report: Report) -> None:
    for failure in report.failures:
        print(f"seed {report.seed}: {failure}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
