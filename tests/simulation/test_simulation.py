"""The worker over simulated broker, store and clock, through thousands of seeded interleavings.

To look at a seed: python -m tests.simulation --seed N --trace
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, get_args

import pytest

from tests.simulation.model import Fault
from tests.simulation.mutants import MUTANTS
from tests.simulation.world import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEEDS = 1_500
PART = 250


@pytest.mark.parametrize("first", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(PART, SEEDS, PART))])
def test_whatever_happens_every_message_ends_in_one_way_for_a_reason(first: int) -> None:
    wrong = {seed: failures for seed in range(first, first + PART) if (failures := simulate(seed).failures)}
    assert wrong == {}


@pytest.fixture
def _swept() -> Iterator[None]:
    yield
    gc.collect()


# A broken worker uses up the steps of its world; coroutines that cannot end any more are collected here, and not later.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("_swept")
@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_a_broken_worker_is_found(mutant: Callable[[], Any]) -> None:
    with mutant():
        assert any(simulate(seed).failures for seed in range(1500)), "1500 seeds did not notice"


def test_a_seed_replays_identically_in_any_process() -> None:
    seeds = [0, 7, 57, 187, 241, 1063]
    here = [simulate(seed).digest for seed in seeds]
    assert [simulate(seed).digest for seed in seeds] == here
    assert len(set(here)) == len(seeds)
    program = f"from tests.simulation.world import simulate\nfor seed in {seeds}: print(simulate(seed).digest)"
    for hashes in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert ran.stdout.split() == here, "the schedule depends on the order of a set"


def test_a_failing_seed_replays_identically() -> None:
    mutant = next(m for m in MUTANTS if m.__name__ == "an_ack_covers_what_is_still_open")
    with mutant():
        first, again = simulate(0), simulate(0)
    assert first.failures
    assert (first.failures, first.trace, first.digest) == (again.failures, again.trace, again.digest)


def test_the_seeds_meet_everything_that_is_simulated() -> None:
    faults = get_args(Fault)
    moves = [
        "memq.retry.1",
        "memq.retry.5",
        "memq.internal.retry.1",
        "memq.internal.retry.5",
        "memq.dead",
        "memq.suspect",
        "caller",
        "gone",
    ]
    fates = ["applied", "dead", "answered", "expired", "limit", "kill"]
    confirms = ["confirmed", "returned", "nacked", "unconfirmed"]
    missing = {*(f"inject {f}" for f in faults), *(f"publish {m}" for m in moves), *fates, *confirms}
    for seed in range(300):
        for _, what, *rest in simulate(seed).trace:
            missing.discard(f"{what} {rest[0]}" if what in ("inject", "publish") else what)
            missing.difference_update(map(str, rest[-1:]))
        if not missing:
            return
    assert missing == set()
