"""The disks of the store and of the broker fill up, and are cleared again."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from stack.broker import Broker, private
from tests.chaos.checker import Rules
from tests.chaos.missing import Missing
from tests.chaos.scene import Ground, Plan, scene
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chaos.figures import Figures

STORE_MIB = 64
STORE_FREE = 24 * 2**20  # below this the engine takes no writes
# RabbitMQ keeps logs of up to 64 MB for its quorum queues; it blocks publishers below 32 MB free.
BROKER_MIB = 400
HELD = "store unavailable, writes held"


async def run(ground: Ground, plan: Plan) -> Figures:
    """plan.kills times each. A full store is an outage, a full broker blocks its publishers: both are waited out."""
    with ExitStack() as stack:
        mine = stack.enter_context(tmpfs(ground.directory / "broker-disk", BROKER_MIB))
        server, how = await asyncio.to_thread(stack.enter_context, private(directory=mine))
        broker = Broker(server.amqp_url, server.management_url, server.prometheus_url, server.version, how)
        disk = stack.enter_context(tmpfs(ground.directory / "store-disk", STORE_MIB))
        here = replace(ground, broker=broker, server=server, directory=disk)
        async with scene(here, "disk full", plan, engine_options={"min_free_bytes": STORE_FREE}) as playing:
            crew = await playing.crew()
            async with playing.sdk(confirm_seconds=3.0) as source:
                each = plan.messages // (2 * plan.kills)
                for _ in range(plan.kills):
                    with filled(disk):
                        held = len(crew.logged(HELD))
                        await source.send(playing.making.messages(each // 2))
                        await until(lambda before=held: len(crew.logged(HELD)) > before, within=60)
                        playing.faults["store's disk full"] += 1
                    await source.send(playing.making.messages(each // 2))
                    with filled(mine):
                        # The alarm comes with the broker's next look at the disk, some seconds later.
                        await until(lambda: _blocked(source, playing.making.messages(3)), within=90, every=0.1)
                        playing.faults["broker's disk full"] += 1
                    await source.send(playing.making.messages(each), within=180)
                playing.notes["publishes without a confirm"] = source.unconfirmed
            return await playing.finish(Rules(redelivery=True))


async def _blocked(source: object, messages: object) -> bool:
    before = source.unconfirmed  # type: ignore[attr-defined]
    await source.send(messages, within=0.0)  # type: ignore[attr-defined]
    return source.unconfirmed > before  # type: ignore[attr-defined]


@contextmanager
def tmpfs(place: Path, mib: int) -> Iterator[Path]:
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or umount is None:
        raise Missing("only root can mount a small disk to fill")
    place.mkdir()
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={mib}m", "memq-chaos", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        raise Missing(f"no tmpfs can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run([umount, "--lazy", str(place)], check=False)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """All but two MiB of it."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - 2 * 2**20)
    try:
        yield
    finally:
        ballast.unlink()
