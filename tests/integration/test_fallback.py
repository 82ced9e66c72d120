"""An aiormq whose internals are not what memq knows: the stock codec takes over, and the log says why."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.broker import Address

pytestmark = pytest.mark.integration

PROGRAM = """
import asyncio, logging, os
import aiormq.connection as c
{change}
import memq, memq_amqp
logging.basicConfig(format="%(message)s %(reason)s", level=logging.WARNING)
logging.getLogger("aiormq").disabled = logging.getLogger("aiormq.connection").disabled = True
async def main():
    connection = await memq_amqp.connect(os.environ["AMQP_URL"])
    channel = await connection.channel()
    await channel.declare_queue("q", exclusive=True)
    print("stock" if memq_amqp.frames_of(connection) is None else "fast", memq_amqp.unusable())
    await connection.close()
asyncio.run(main())
"""

CHANGES = {
    "nothing": ("", "fast None", ""),
    "a renamed reader": (
        "c.Reader = c.FrameReceiver; exec(open(c.__file__).read().replace('FrameReceiver', 'Reader'), c.__dict__); "
        "del c.FrameReceiver",
        "stock aiormq",
        "",
    ),
    "a rebound reader": (
        "exec(open(c.__file__).read().replace('FrameReceiver(reader)', 'Bound(reader)') "
        "+ '\\nBound = FrameReceiver\\n', c.__dict__)",
        "stock None",
        "falling back to aiormq's frame codec",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_aiormq_of_another_shape_costs_the_fast_codec_and_nothing_else(amqp: Address, change: str) -> None:
    code, told, logged = CHANGES[change]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(change=code)],
        env={**os.environ, "AMQP_URL": amqp.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(told), done.stdout
    assert logged in done.stderr
