from __future__ import annotations

import gc

import aio_pika
import pytest
from memq_amqp.address import parse

from memq_worker.amqp.connection import Brokers
from memq_worker.errors import BrokerUnavailable
from stack.ports import free_ports


@pytest.mark.parametrize("fast", [True, False])
async def test_a_connection_that_cannot_be_made_is_closed(fast: bool) -> None:
    (port,) = free_ports(1)
    with pytest.raises(BrokerUnavailable) as caught:  # keeps all that has been made
        async with Brokers(parse(f"amqp://127.0.0.1:{port}/"), "tested", 10, fast=fast).connect("consume"):
            pass
    made = [each for each in gc.get_objects() if isinstance(each, aio_pika.Connection) and each.url.port == port]
    assert [each.is_closed for each in made] == [True]
    del caught
