"""Every checker sees the defect it is there for: a broken worker in the short form of an experiment."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.chaos.catalogue import EXPERIMENTS
from tests.chaos.missing import skipping
from tests.chaos.mutants import MUTANTS
from tests.chaos.scene import Ground

if TYPE_CHECKING:
    from pathlib import Path

    from stack.broker import Broker

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("name", [name for name, each in MUTANTS.items() if each.experiment in EXPERIMENTS])
async def test_a_broken_worker_is_seen(name: str, broker: Broker, tmp_path: Path) -> None:
    mutant = MUTANTS[name]
    experiment = EXPERIMENTS[mutant.experiment]
    plan = replace(experiment.short, mutant=name, seconds=6, drain_seconds=5)
    with skipping():
        figures = await experiment.run(Ground(broker, tmp_path), plan)
    assert {violation.kind for violation in figures.violations} & mutant.kinds, figures.summary()
