"""The short form of every experiment: faults did happen, and nothing was lost, duplicated in effect or let through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stack.broker import Broker
from tests.chaos.catalogue import EXPERIMENTS, Experiment
from tests.chaos.missing import skipping
from tests.chaos.scene import Ground

if TYPE_CHECKING:
    from pathlib import Path

    from stack.broker import Server

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]

# Where counts of deliveries decide what happens, every version of the broker is asked.
MARKS = {"poison": pytest.mark.broker_semantics}
SHARED = [
    pytest.param(each.name, marks=MARKS.get(each.name, ())) for each in EXPERIMENTS.values() if not each.own_broker
]
OWN = [each.name for each in EXPERIMENTS.values() if each.own_broker]


async def check(experiment: Experiment, ground: Ground) -> None:
    with skipping():
        figures = await experiment.run(ground, experiment.short)
    assert not figures.violations, figures.summary()
    assert figures.messages, figures.summary()
    assert figures.faults, figures.summary()
    assert all(figures.faults.values()), figures.summary()


@pytest.mark.parametrize("name", SHARED)
async def test_nothing_is_lost_or_let_through(name: str, broker: Broker, tmp_path: Path) -> None:
    await check(EXPERIMENTS[name], Ground(broker, tmp_path))


@pytest.mark.parametrize("name", OWN)
async def test_nothing_is_lost_or_let_through_when_the_broker_fails(name: str, server: Server, tmp_path: Path) -> None:
    broker = Broker(server.amqp_url, server.management_url, server.prometheus_url, server.version, "killed")
    await check(EXPERIMENTS[name], Ground(broker, tmp_path, server))
