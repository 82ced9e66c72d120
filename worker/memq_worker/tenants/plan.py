"""Difference between a tenants file and the broker, as steps that remove it."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from memq_schemas.tenants import TenantNames, own_lanes, shared_topology, tenant_topology
from memq_schemas.topology import Binding, Exchange, Order, Queue
from memq_worker.errors import ConfigurationError
from memq_worker.tenants.applied_file import AppliedFile
from memq_worker.tenants.broker import Bound, Broker
from memq_worker.tenants.file import Tenant, TenantsFile, User
from memq_worker.tenants.users import check_ordinary, has_password, password, permissions

# A message stays in the retry queues for ten minutes at most; then nothing of a removed tenant is under way.
FENCE_SECONDS = 15 * 60.0
_MOST_REMOVED = 1000  # names that workers keep; the newest
_SETTLED_SECONDS = 15.0  # the numbers of the management API are up to five seconds old


@dataclass(frozen=True, slots=True)
class Step:
    """One change. It can be repeated, so an interrupted apply is taken up by the next one."""

    text: str
    act: Callable[[], None]


@dataclass(slots=True)
class Plan:
    """steps: in the order in which they are done.   notes: what a person has to decide or to wait for."""

    steps: list[Step] = field(default_factory=list[Step])
    notes: list[str] = field(default_factory=list[str])


class Planner:
    """Plans for one tenants file."""

    def __init__(self, file: TenantsFile, directory: Path, broker: Broker, order: Order) -> None:
        """directory: that of the file, where relative names of password files begin."""
        self._file = file
        self._directory = directory
        self._broker = broker
        self._api = broker.api
        self._names = broker.names
        self._order: Order = order

    def plan(self) -> Plan:
        """Raises ConfigurationError for a file that may not be applied, and BrokerUnavailable."""
        self._check()
        plan = Plan()
        leaving = {name: self._left_lanes(name, tenant) for name, tenant in self._file.tenants.items()}
        draining = self._draining(leaving)
        shared = shared_topology(self._names.prefix, self._order)
        plan.steps += self._queues(shared.queues)
        plan.steps += self._bind(shared.bindings)
        # First: workers with an older file stop taking tenants' messages before anything changes.
        plan.steps += self._announce(draining)
        for name, tenant in self._file.tenants.items():
            plan.steps += self._tenant(name, tenant)
            if name not in draining:
                plan.steps += [
                    Step(f"delete queue {queue}, which is empty", self._deleting("queues", queue))
                    for queue in leaving[name]
                ]
            plan.steps += self._users(name, tenant, plan.notes)
        for name in draining:
            plan.notes.append(f"tenant {name}: its former lane is being emptied; apply again to delete its queues")
        for name in self._broker.tenants:
            if name not in self._file.tenants:
                plan.notes.append(
                    f"tenant {name}: not in the file, but on the broker, where its users may still publish; "
                    f"memq-worker tenants remove {name} deletes it with its points"
                )
        return plan

    def _check(self) -> None:
        names, applied = self._names, self._broker.applied
        for needed in (names.commands, names.internal, names.dead):
            if needed not in self._broker.exchanges:
                raise ConfigurationError(f"exchange {needed!r} is missing: run memq-worker declare first")
        if applied is not None and (reason := applied.outdates(self._file)):
            raise ConfigurationError(reason)
        for name, at in () if applied is None else applied.removed.items():
            left = at + FENCE_SECONDS - time.time()
            if name in self._file.tenants and left > 0:
                raise ConfigurationError(
                    f"[tenants.{name}]: a tenant of this name was removed, and its messages may still be in transit; "
                    f"expected another name, or this one in {left:.0f} s"
                )

    def _draining(self, leaving: Mapping[str, list[str]]) -> dict[str, float]:
        """Tenants whose former lane may still hold messages, with the time since which nothing new comes there."""
        applied = self._broker.applied
        before: Mapping[str, float] = {} if applied is None else applied.draining
        found: dict[str, float] = {}
        for name, queues in leaving.items():
            since = before.get(name, time.time())
            if queues and (
                time.time() - since < _SETTLED_SECONDS or any(self._broker.queues[queue].messages for queue in queues)
            ):
                found[name] = since
        return found

    def _left_lanes(self, name: str, tenant: Tenant) -> list[str]:
        """Queues of lanes that the tenant no longer has."""
        own = own_lanes(TenantNames(self._names.prefix, name), self._order).values()
        return [] if tenant.own_lane else [queue for queue in own if queue in self._broker.queues]

    def _announce(self, draining: dict[str, float]) -> Iterator[Step]:
        before = self._broker.applied
        # Until the name is in use again: workers that were away may still find messages in the queues of all tenants.
        removed = {
            name: at
            for name, at in sorted((() if before is None else before.removed.items()), key=lambda each: -each[1])
            if name not in self._file.tenants
        }
        removed = dict(islice(removed.items(), _MOST_REMOVED))
        wanted = AppliedFile(self._file.generation, self._file.digest, removed, draining)
        if before != wanted:
            previous = "none" if before is None else str(before.generation)
            yield Step(
                f"generation {previous} -> {wanted.generation}: workers with an older file take no tenant's messages",
                lambda: announce(self._broker, wanted),
            )

    def _tenant(self, name: str, tenant: Tenant) -> Iterator[Step]:
        layout = tenant_topology(self._names.prefix, name, own_lane=tenant.own_lane, order=self._order)
        yield from self._exchanges(layout.exchanges)
        yield from self._queues(layout.queues)
        yield from self._policy(name, tenant)
        yield from self._bind(layout.bindings)
        yield from self._unbind(name, layout.bindings)

    def _exchanges(self, exchanges: tuple[Exchange, ...]) -> Iterator[Step]:
        for exchange in exchanges:
            there = self._broker.exchanges.get(exchange.name)
            if there is None:
                body = {"type": exchange.kind, "durable": True}
                yield Step(
                    f"create {exchange.kind} exchange {exchange.name}", self._putting(body, "exchanges", exchange.name)
                )
            elif there != exchange.kind:
                raise ConfigurationError(
                    f"exchange {exchange.name!r} exists but is not a {exchange.kind} exchange: delete it"
                )

    def _queues(self, queues: tuple[Queue, ...]) -> Iterator[Step]:
        for queue in queues:
            if queue.name not in self._broker.queues:
                body = {"durable": True, "arguments": queue.arguments}
                yield Step(f"create queue {queue.name}", self._putting(body, "queues", queue.name))

    def _bind(self, bindings: tuple[Binding, ...]) -> Iterator[Step]:
        for binding in bindings:
            if Bound.of(binding) not in self._broker.bindings:
                body = {"routing_key": binding.routing_key, "arguments": binding.arguments}
                path = self._api.here("bindings", "e", binding.exchange, "q", binding.queue)
                yield Step(f"bind {_described(binding)}", _posting(self._api.post, path, body))

    def _unbind(self, name: str, wanted: tuple[Binding, ...]) -> Iterator[Step]:
        """Former bindings to queues of memq's own; taps that an operator has made stay."""
        own = TenantNames(self._names.prefix, name)
        keep = {Bound.of(binding) for binding in wanted}
        for place in (*own.exchanges, *own.lanes):
            for bound in self._broker.lane_bindings.get(place, ()):
                if bound not in keep:
                    key = self._broker.bindings[bound]
                    path = self._api.here("bindings", "e", bound.exchange, "q", bound.queue, key)
                    binding = Binding(bound.exchange, bound.queue, bound.routing_key, json.loads(bound.arguments))
                    yield Step(f"unbind {_described(binding)}", _deleting(self._api.delete, path))

    def _policy(self, name: str, tenant: Tenant) -> Iterator[Step]:
        """The limit on what waits, in each of the tenant's own queues. Their arguments have it rejected at publish."""
        policy = policy_name(self._names.prefix, name)
        there, most = self._broker.policies.get(policy), tenant.limits.backlog_bytes
        if most is None:
            if there is not None:
                yield Step(f"delete policy {policy}", self._deleting("policies", policy))
            return
        queue = f"{self._names.prefix}.lane.{name}".replace(".", "\\.")
        body: dict[str, Any] = {
            "pattern": f"^{queue}(\\.bulk)?$",
            "apply-to": "queues",
            "priority": 1,
            "definition": {"max-length-bytes": most},
        }
        if there is None or any(there.get(key) != value for key, value in body.items()):
            text = f"policy {policy}: at most {most} bytes in each queue of the tenant's own"
            yield Step(text, self._putting(body, "policies", policy))

    def _users(self, name: str, tenant: Tenant, notes: list[str]) -> Iterator[Step]:
        for user, declared in tenant.users.items():
            yield from self._user(name, user, declared, notes)

    def _user(self, tenant: str, user: str, declared: User, notes: list[str]) -> Iterator[Step]:
        place = f"[tenants.{tenant}.users.{user}]"
        if user == self._api.user:
            raise ConfigurationError(
                f"{place}: this command's own user, which would lose its permissions; expected another user"
            )
        given = password(declared, place, self._directory)
        known = self._broker.users.get(user)
        if known is None and given is None:
            notes.append(f"{place}: RabbitMQ has no such user of its own, and there is no password_file; left alone")
            return
        if known is not None:
            check_ordinary(known, place)
        if given is not None and (known is None or has_password(known, given) is False):
            doing = "create user" if known is None else "change the password of user"
            body = {"password": given, "tags": "" if known is None else known.get("tags", "")}
            yield Step(f"{doing} {user} (from {declared.password_file})", self._setting_user(user, body))
        wanted = permissions(TenantNames(self._names.prefix, tenant), declared.access)
        before = self._broker.permissions.get(user)
        if before != wanted:
            previous = "" if before is None else f" (instead of {_regexes(before)})"
            text = f"permissions of user {user}: {_regexes(wanted)}{previous}"
            yield Step(text, self._putting(wanted, "permissions", user))

    def _setting_user(self, user: str, body: dict[str, Any]) -> Callable[[], None]:
        return lambda: self._api.put(f"users/{user}", body)

    def _putting(self, body: dict[str, Any], *path: str) -> Callable[[], None]:
        return lambda: self._api.put(self._api.here(*path), body)

    def _deleting(self, *path: str) -> Callable[[], None]:
        return lambda: self._api.delete(self._api.here(*path))


def announce(broker: Broker, applied: AppliedFile) -> None:
    """Replace the message that tells workers which file was applied."""
    message = {
        "properties": {"delivery_mode": 2, "content_type": "application/json"},
        "routing_key": broker.names.tenants,
        "payload": applied.body().decode(),
        "payload_encoding": "string",
    }
    answer: dict[str, Any] | None = broker.api.post(broker.api.here("exchanges", "amq.default", "publish"), message)
    if answer is None or not answer.get("routed"):
        raise ConfigurationError(
            f"queue {broker.names.tenants!r} did not accept a message; check that its node is running"
        )


def policy_name(prefix: str, tenant: str) -> str:
    return f"{prefix}.t.{tenant}.backlog"


def _posting(post: Callable[[str, dict[str, Any]], object], path: str, body: dict[str, Any]) -> Callable[[], None]:
    def act() -> None:
        post(path, body)

    return act


def _deleting(delete: Callable[[str], None], path: str) -> Callable[[], None]:
    return lambda: delete(path)


def _described(binding: Binding) -> str:
    what = binding.routing_key or f"lane {binding.arguments.get('x-lane')}"
    return f"{binding.exchange} -> {binding.queue} ({what})"


def _regexes(granted: dict[str, str]) -> str:
    return " ".join(f"{kind}={granted[kind] or '(none)'}" for kind in ("configure", "write", "read"))
