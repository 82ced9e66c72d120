"""Requests and writes of tenants, straight into a pipeline over a real store."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from memq_schemas.properties import Properties
from memq_worker.pipeline.delivery import Delivery
from memq_worker.pipeline.intake import Pipeline
from memq_worker.pipeline.limits.allowances import Allowances
from memq_worker.pipeline.spaces.own_space import OwnSpace
from memq_worker.pipeline.spaces.shared_space import SharedSpace
from memq_worker.pipeline.spaces.spaces import Spaces
from memq_worker.pipeline.tenants import Tenants as Bundle
from memq_worker.qdrant.client import QdrantStore, open_store
from memq_worker.tenants.shared_collections import prepare
from tests.unit.worker.fakes import NAMES, FakeLink, Watch, options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from memq_schemas import CreateCollection
    from memq_worker.tenants.file import Limits

WRITES = ("upsert.", "delete.", "payload.", "vectors.")


@dataclass
class Tenants:
    pipeline: Pipeline
    store: QdrantStore
    link: FakeLink = field(default_factory=FakeLink)
    tags: Any = field(default_factory=lambda: itertools.count(1))

    async def ask(self, tenant: str | None, key: str, body: Any = None) -> Any:
        """Return the whole reply to one message of a tenant, or of the operator."""
        tag = next(self.tags)
        address = f"memq.reply.{tag}" if tenant is None else f"memq.reply.{tenant}.{tag}"
        queue = NAMES.write if key.startswith(WRITES) else NAMES.query
        raw = b"{}" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        properties = Properties(content_type="application/json", reply_to=address, correlation_id=str(tag))
        self.pipeline.accept(Delivery(self.link, tag, queue, key, raw, properties, tenant=tenant))
        await self.link.until(lambda link: any(each.routing_key == address for each in link.published))
        reply = next(each for each in self.link.published if each.routing_key == address)
        self.link.published.remove(reply)
        return reply.json

    async def result(self, tenant: str | None, key: str, body: Any = None) -> Any:
        reply = await self.ask(tenant, key, body)
        assert reply["status"] == 200, reply
        return reply["result"]


def shared_spaces(contracts: Mapping[str, CreateCollection], *tenants: str) -> dict[str, Any]:
    return {tenant: SharedSpace(tenant, contracts) for tenant in tenants}


def own_spaces(*tenants: str) -> dict[str, Any]:
    return {tenant: OwnSpace(tenant) for tenant in tenants}


@asynccontextmanager
async def tenants_of(
    url: str,
    spaces: Mapping[str, Any],
    contracts: Mapping[str, CreateCollection] | None = None,
    limits: Mapping[str, Limits] | None = None,
) -> AsyncIterator[Tenants]:
    """A pipeline over the store at `url`, with the shared collections made."""
    async with open_store(url, None, 10.0) as store:
        await prepare(store, contracts or {}, 10.0)
        pipeline = Pipeline(store, Watch(), options(), tenants=Bundle(Spaces(spaces), Allowances(limits)))
        try:
            yield Tenants(pipeline, store)
        finally:
            async with asyncio.timeout(10):
                await pipeline.drain()
