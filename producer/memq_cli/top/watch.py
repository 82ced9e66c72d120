"""Repeated readings of the metrics pages and the broker."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from memq_cli.top.broker import Unreachable
from memq_cli.top.exposition import Page, Unreadable, fetch
from memq_cli.top.troubles import troubles
from memq_cli.top.view import Pool, frame, waiting
from memq_cli.top.window import Window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memq_cli.top.broker import Broker, Depth
    from memq_cli.top.frame import Frame

WINDOW_SECONDS = 10.0
WITHOUT_METRICS = "rates, ages, workers, latencies and errors"
WITHOUT_BROKER = "depth and consumers are the workers' own, seconds old"
WITHOUT_BOTH = "depth and consumers"


class Watch:
    def __init__(self, urls: Sequence[str], broker: Broker, tenant: str | None = None) -> None:
        """tenant: shown alone; None for all."""
        self._tenant = tenant
        self._pages: dict[str, deque[Page]] = {url: deque() for url in urls}
        self._waiting: deque[tuple[float, float]] = deque()
        self._broker = broker

    async def look(self) -> Frame:
        """Never raises for what cannot be read: the frame says so."""
        reading = asyncio.gather(*map(self._read, self._pages))
        depths = await self._depths()
        problems = await reading
        unseen = [problem for problem in problems if problem]
        pools = [
            Pool(_place(url), pages[-1], Window(pages[0], pages[-1])) for url, pages in self._pages.items() if pages
        ]
        if not pools:
            unseen.append(f"not available: {WITHOUT_METRICS}")
        seen: Mapping[str, Depth] | None = None
        if isinstance(depths, str):
            unseen += [depths, f"so {WITHOUT_BROKER}" if pools else f"not available: {WITHOUT_BOTH}"]
        else:
            seen = depths
        found = frame(pools, seen, self._broker.roles, self._growth(waiting(pools, seen)))
        if self._tenant is not None:
            found.tenants = [tenant for tenant in found.tenants if tenant.name == self._tenant]
        found.unseen = [*unseen, *_hidden(found, seen)]
        found.troubles = troubles(found)
        return found

    async def _depths(self) -> dict[str, Depth] | str:
        try:
            depths = await self._broker.depths()
        except Unreachable as error:
            return str(error)
        return depths or "RabbitMQ has none of memq's queues: check the prefix, or run `memq-worker declare`"

    async def _read(self, url: str) -> str | None:
        pages = self._pages[url]
        try:
            page = await fetch(url)
        except Unreadable as error:
            pages.clear()
            return f"{url}: {error}"
        page.at = asyncio.get_running_loop().time()
        pages.append(page)
        while len(pages) > 2 and page.at - pages[1].at >= WINDOW_SECONDS:
            pages.popleft()
        return None

    def _growth(self, count: float | None) -> float | None:
        """A second, over the window; None until there are two readings."""
        if count is None:
            self._waiting.clear()
            return None
        now = asyncio.get_running_loop().time()
        self._waiting.append((now, count))
        while len(self._waiting) > 2 and now - self._waiting[1][0] >= WINDOW_SECONDS:
            self._waiting.popleft()
        began, before = self._waiting[0]
        return (count - before) / (now - began) if now > began else None


def _hidden(found: Frame, depths: Mapping[str, Depth] | None) -> list[str]:
    """Report workers of pools that no --metrics option names: each worker consumes the write queue once."""
    consumers = 0 if depths is None or "write" not in depths else depths["write"].consumers
    if found.workers_up is None or consumers <= found.workers_up:
        return []
    return [f"metrics of {found.workers_up} of {consumers} workers: name the other pools with --metrics"]


def _place(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
