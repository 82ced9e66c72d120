"""A connection that is closed, or could not be made, leaves no task behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from memq import ConfigurationError, Producer

if TYPE_CHECKING:
    from tests.support.broker import Address

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("spoiled", ["virtual host", "password", "prefix"])
async def test_a_refused_producer_leaves_no_task_behind(amqp: Address, transport: str, spoiled: str) -> None:
    assert transport
    parts, before = urlsplit(amqp.url), asyncio.all_tasks()
    url = {
        "virtual host": parts._replace(path="/nowhere"),
        "password": parts._replace(netloc=f"guest:no@{parts.hostname}:{parts.port}"),
        "prefix": parts,
    }[spoiled]
    with pytest.raises(ConfigurationError):
        await Producer(url.geturl(), prefix=amqp.prefix, timeout=20).__aenter__()
    assert asyncio.all_tasks() == before
