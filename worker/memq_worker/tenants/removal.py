"""Removal of a tenant: its access, its messages, its points, and a receipt that counts them."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from memq_amqp import Connection, Received

from memq_schemas import Filter
from memq_schemas.tenants import TenantNames, Whose
from memq_worker.amqp.sweep import delete_queue, sweep
from memq_worker.errors import ConfigurationError
from memq_worker.pipeline.spaces.hidden_keys import TENANT_KEY
from memq_worker.tenants.applied_file import AppliedFile
from memq_worker.tenants.broker import Broker
from memq_worker.tenants.file import TenantsFile
from memq_worker.tenants.plan import FENCE_SECONDS, announce, policy_name
from memq_worker.tenants.users import permissions

# Workers look at the generation every five seconds.
_FENCED_SECONDS = 7.0
_LEFT_SECONDS = 60.0  # for workers to stop consuming the tenant's own lane

Tell = Callable[[str], None]


class Points(Protocol):
    """The store, as far as a removal needs it."""

    async def list_collections(self, timeout: float) -> list[str]: ...

    async def describe_collection(self, collection: str, timeout: float) -> dict[str, Any]: ...

    async def count(self, collection: str, where: Filter | None, timeout: float) -> int: ...

    async def delete(self, collection: str, ids: None, where: Filter | None) -> None: ...

    async def drop_collection(self, collection: str, timeout: float) -> bool: ...


class Removal:
    """Removes one tenant. Every step can be repeated: an interrupted removal is run again."""

    def __init__(
        self, name: str, file: TenantsFile, broker: Broker, connection: Connection, store: Points, tell: Tell
    ) -> None:
        """tell: takes the lines of the receipt."""
        self._name = name
        self._file = file
        self._broker = broker
        self._api = broker.api
        self._own = TenantNames(broker.names.prefix, name)
        self._connection = connection
        self._store = store
        self._tell = tell
        self._shared_ones = dict.fromkeys(file.shared, True)

    async def run(self, timeout: float, settle_seconds: float) -> None:
        """Remove everything, and tell what it was. timeout: of one call to the store.

        settle_seconds: time in which a write that a worker has begun ends.   Raises ConfigurationError,
        BrokerUnavailable and WorkerError.
        """
        self._check()
        fenced_until = self._fence()
        self._close_access()
        await asyncio.sleep(_FENCED_SECONDS)
        await self._delete_lanes()
        await self._delete_points(timeout, settle_seconds)
        await self._sweep()
        policy = policy_name(self._broker.names.prefix, self._name)
        if policy in self._broker.policies:
            self._api.delete(self._api.here("policies", policy))
        left = max(0.0, fenced_until - time.time())
        self._tell(f"retries and late redeliveries: discarded by the workers; the name is free again in {left:.0f} s")

    def _check(self) -> None:
        if self._name in self._file.tenants:
            raise ConfigurationError(
                f"[tenants.{self._name}]: still in the file; take it out, raise the generation, then remove the tenant"
            )
        applied = self._broker.applied
        if applied is None:
            raise ConfigurationError("no tenants file was ever applied: run memq-worker tenants apply first")
        if reason := applied.outdates(self._file):
            raise ConfigurationError(reason)

    def _fence(self) -> float:
        """Have workers discard what is left of the tenant. Return until when, in epoch seconds."""
        before = self._broker.applied
        removed = {} if before is None else dict(before.removed)
        at = removed.setdefault(self._name, time.time())
        announce(
            self._broker,
            replace(
                before or AppliedFile(0, ""),
                generation=self._file.generation,
                digest=self._file.digest,
                removed=removed,
            ),
        )
        return at + FENCE_SECONDS

    def _close_access(self) -> None:
        """Delete the exchanges, which ends publishing at once, and the users."""
        exchanges = [exchange for exchange in self._own.exchanges if exchange in self._broker.exchanges]
        for exchange in exchanges:
            self._api.delete(self._api.here("exchanges", exchange))
        self._tell(f"exchanges: {len(exchanges)} deleted")
        deleted = users_left = 0
        for user in self._users():
            elsewhere = [each for each in self._api.get(f"users/{user}/permissions") or () if not self._here(each)]
            self._api.delete(self._api.here("permissions", user))
            if elsewhere:
                users_left += 1
            else:
                self._api.delete(f"users/{user}")
                deleted += 1
        rest = f", {users_left} kept without rights here, since other virtual hosts know them" if users_left else ""
        self._tell(f"users: {deleted} deleted{rest}")

    def _here(self, permission: dict[str, str]) -> bool:
        return permission.get("vhost") == self._api.vhost

    def _users(self) -> list[str]:
        granted = [permissions(self._own, "write"), permissions(self._own, "read")]
        return [user for user, own in self._broker.permissions.items() if own in granted]

    async def _delete_lanes(self) -> None:
        await self._until_left()
        queues = messages = 0
        for queue in self._own.lanes.values():
            found = await delete_queue(self._connection, queue)
            if found is not None:
                queues, messages = queues + 1, messages + found
        self._tell(f"queues: {queues} deleted, with {messages} messages")
        await self._delete_replies()

    async def _delete_replies(self) -> None:
        """Delete queues and exchanges that the tenant declared under the names of its reply queues."""
        beginning, queues = self._own.reply(""), 0
        there = Broker(self._api, self._broker.names)
        for queue in [queue for queue in there.lasting_queues if queue.startswith(beginning)]:
            queues += await delete_queue(self._connection, queue) is not None
        exchanges = [exchange for exchange in there.exchanges if exchange.startswith(beginning)]
        for exchange in exchanges:
            self._api.delete(self._api.here("exchanges", exchange))
        self._tell(f"reply queues: {queues} deleted, and {len(exchanges)} exchanges of the tenant's own")

    async def _until_left(self) -> None:
        """Wait until no worker consumes the tenant's own lane. Raises ConfigurationError after a minute."""
        ends = time.monotonic() + _LEFT_SECONDS
        while True:
            there = Broker(self._api, self._broker.names).queues
            consumers = sum(there[queue].consumers for queue in self._own.lanes.values() if queue in there)
            if not consumers:
                return
            if time.monotonic() > ends:
                raise ConfigurationError(
                    f"{consumers} consumers still receive messages of tenant {self._name!r}: bring the new "
                    "tenants file to all workers, then run memq-worker tenants remove again"
                )
            await asyncio.sleep(1.0)

    async def _delete_points(self, timeout: float, settle_seconds: float) -> None:
        """Delete points and collections, and once more those of writes that were under way."""
        collections, points = await self._delete_once(timeout)
        ends = time.monotonic() + settle_seconds
        while time.monotonic() < ends:
            await asyncio.sleep(1.0)
            more = await self._delete_once(timeout)
            collections, points = collections + more[0], points + more[1]
        self._tell(f"points: {points} deleted, and {collections} collections of its own")

    async def _delete_once(self, timeout: float) -> tuple[int, int]:
        """Return the numbers of collections and of points."""
        collections = points = 0
        own = Filter.model_validate({"must": [{"key": TENANT_KEY, "match": {"value": self._name}}]})
        for collection in await self._store.list_collections(timeout):
            if collection.startswith(f"{self._name}.") and collection not in self._file.shared:
                points += await self._store.count(collection, None, timeout)
                await self._store.drop_collection(collection, timeout)
                collections += 1
            elif await self._shared(collection, timeout) and (
                found := await self._store.count(collection, own, timeout)
            ):
                await self._store.delete(collection, None, own)
                points += found
        return collections, points

    async def _shared(self, collection: str, timeout: float) -> bool:
        """Return True for a collection of several tenants, also one that left the file together with this tenant."""
        known = self._shared_ones.get(collection)
        if known is None:
            described = await self._store.describe_collection(collection, timeout)
            known = self._shared_ones[collection] = TENANT_KEY in described["indexes"]
        return known

    async def _sweep(self) -> None:
        names = self._broker.names
        whose = Whose(names)

        def dead(message: Received) -> bool:
            return whose.dead(message.properties.headers) == self._name

        def suspect(message: Received) -> bool:
            return whose.sent(message.exchange, message.properties.headers) == self._name

        letters = await sweep(self._connection, names.dead, dead)
        suspects = await sweep(self._connection, names.suspect, suspect, copies=names.suspect)
        self._tell(f"dead letters: {letters} deleted")
        self._tell(f"suspects: {suspects} deleted")
