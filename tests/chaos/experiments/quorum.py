"""A cluster of three loses the node that leads, then one more, and gets them back."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from stack.amqp import management
from tests.chaos.checker import Rules
from tests.chaos.cluster import Cluster, Member, cluster
from tests.chaos.experiments.broker import SETTLED_SECONDS
from tests.chaos.scene import Ground, Plan, Scene, scene
from tests.chaos.source import NOT_CONFIRMED
from tests.support.broker import depth
from tests.support.until import until

if TYPE_CHECKING:
    from tests.chaos.figures import Figures
    from tests.chaos.source import SdkSource


async def run(ground: Ground, plan: Plan) -> Figures:
    """plan.kills times SIGKILL to the leader of memq.write; then two nodes at once: nothing may be confirmed then."""
    async with cluster(ground.directory) as nodes:
        here = replace(ground, broker=nodes.broker)
        async with scene(here, "quorum", plan) as playing:
            urls = [urlsplit(url)._replace(path=f"/{playing.address.vhost}").geturl() for url in nodes.urls]
            playing.amqp_url = ",".join(f"{url}?heartbeat=5" for url in urls)
            await playing.crew(2)
            await asyncio.sleep(SETTLED_SECONDS)
            async with playing.sdk(urls, confirm_seconds=5.0) as source:
                for _ in range(plan.kills):
                    await _leader_killed(playing, nodes, source)
                await _majority_lost(playing, nodes, source)
                playing.notes["longest time between confirms, s"] = round(source.longest_gap, 1)
                playing.notes["publishes without a confirm"] = source.unconfirmed
            return await playing.finish(Rules(redelivery=True))


async def _leader_killed(playing: Scene, nodes: Cluster, source: SdkSource) -> None:
    leader = await asyncio.to_thread(_leader, playing, nodes)
    loading = asyncio.create_task(_load(playing, source, playing.plan.messages // playing.plan.kills))
    await asyncio.sleep(playing.chance.uniform(0.2, 1.5))
    await asyncio.to_thread(leader.kill)
    playing.faults["leader kills"] += 1
    # The two that are left go on: this ends while the third is still dead, and with it perhaps the queue of requests.
    await loading
    other = playing.amqp_url.split(",")[(nodes.members.index(leader) + 1) % len(nodes.members)]
    alive = replace(playing.address, url=other)

    async def taken() -> bool:
        return not await depth(alive, f"{alive.prefix}.write")

    await until(taken)
    await asyncio.to_thread(leader.start)

    async def answered() -> bool:
        try:
            return await source.count() is not None
        except NOT_CONFIRMED:
            return False

    await until(answered)


async def _load(playing: Scene, source: SdkSource, messages: int) -> None:
    for _ in range(max(1, messages // 20)):
        await source.send(playing.making.messages(20), within=120, pause=0.05)


async def _majority_lost(playing: Scene, nodes: Cluster, source: SdkSource) -> None:
    await playing.empty(60)
    for member in nodes.members[1:]:
        await asyncio.to_thread(member.kill)
    playing.faults["majority lost"] += 1
    confirmed = await source.try_once([playing.making.message(1) for _ in range(5)])
    assert confirmed == 0, f"{confirmed} confirmed by one node of three"
    began = time.monotonic()
    for member in nodes.members[1:]:
        await asyncio.to_thread(member.start)
    await source.send(playing.making.messages(20), within=120)
    playing.notes["back after the majority, s"] = round(time.monotonic() - began, 1)


def _leader(playing: Scene, nodes: Cluster) -> Member:
    """Of memq.write, as any living node says."""
    place = f"/api/queues/{quote(playing.address.vhost, safe='')}/{playing.address.prefix}.write"
    for member in nodes.members:
        parts = urlsplit(member.amqp_url)
        try:
            queue = management("GET", f"{member.management_url}{place}", parts.username or "", parts.password or "")
        except OSError:
            continue
        name = queue.get("leader") or queue["node"]
        return next(each for each in nodes.members if each.nodename == name)
    raise AssertionError("no node answers")
