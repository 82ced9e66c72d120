"""A Prometheus beside the stack, on the configuration, rules and alerts of `prometheus/`."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stack.prometheus import NoPrometheus, found, prometheus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from stack.prometheus import Prometheus
    from stack.running import Stack
    from stack.screen import Screen

# Also what grafana/provisioning tells Grafana.
INTERVAL = "5s"


@asynccontextmanager
async def watched(stack: Stack, home: Path, screen: Screen) -> AsyncIterator[Prometheus | None]:
    """None, and a word on the screen, where Prometheus is not installed or does not start: memq runs without."""
    async with AsyncExitStack() as opened:
        server = None
        with screen.step("starting Prometheus") as step:
            try:
                programs = found(install=False)
                server = await opened.enter_async_context(prometheus(programs, home, targets(stack), INTERVAL))
                step.done("Prometheus", str(programs.prometheus))
            except NoPrometheus as error:
                step.done("without Prometheus:", " ".join(str(error).removeprefix("no Prometheus: ").split()))
        yield server


def targets(stack: Stack) -> dict[str, list[str]]:
    """Targets by job of prometheus.yml."""
    jobs = {"memq": [urlsplit(stack.workers.metrics_url).netloc]}
    if stack.broker.prometheus_url:
        broker = urlsplit(stack.broker.prometheus_url).netloc
        jobs |= {"rabbitmq": [broker], "rabbitmq-detailed": [broker]}
    return jobs
