"""What the broker has of memq's tenants now."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from memq_schemas import Names
from memq_schemas.tenants import TENANT_NAME
from memq_schemas.topology import Binding
from memq_worker.errors import ConfigurationError
from memq_worker.tenants.applied_file import AppliedFile
from memq_worker.tenants.management import Management


class Depth(NamedTuple):
    """messages: ready and unacknowledged, up to five seconds ago, as the other numbers."""

    messages: int
    bytes: int
    consumers: int


class Bound(NamedTuple):
    """A binding. arguments: as JSON with sorted keys."""

    exchange: str
    queue: str
    routing_key: str
    arguments: str

    @classmethod
    def of(cls, binding: Binding) -> "Bound":
        return cls(binding.exchange, binding.queue, binding.routing_key, _text(binding.arguments))


def _text(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, sort_keys=True)


class Broker:
    """Read once, when it is asked for first: for one plan."""

    def __init__(self, api: Management, names: Names) -> None:
        self.api = api
        self.names = names

    @cached_property
    def exchanges(self) -> Mapping[str, str]:
        """Kinds of the exchanges by name."""
        return {each["name"]: each["type"] for each in self._all("exchanges")}

    @cached_property
    def queues(self) -> Mapping[str, Depth]:
        return {
            each["name"]: Depth(each.get("messages", 0), each.get("message_bytes", 0), each.get("consumers", 0))
            for each in self._all("queues")
        }

    @cached_property
    def lasting_queues(self) -> list[str]:
        """Names of the queues that no connection has for itself."""
        return [each["name"] for each in self._all("queues") if not each.get("exclusive")]

    @cached_property
    def bindings(self) -> Mapping["Bound", str]:
        """Bindings of exchanges to queues; the value is the API's name for one."""
        return {
            Bound(each["source"], each["destination"], each["routing_key"], _text(each["arguments"])): each[
                "properties_key"
            ]
            for each in self._all("bindings")
            if each["destination_type"] == "queue" and each["source"]
        }

    @cached_property
    def lane_bindings(self) -> Mapping[str, list["Bound"]]:
        """Bindings to the queues of tenants, by exchange; those of the internal exchange by the lane they return to."""
        found = defaultdict[str, list[Bound]](list)
        beginnings = (f"{self.names.prefix}.lane.", f"{self.names.tenants}.")
        for bound in self.bindings:
            if bound.queue.startswith(beginnings):
                internal = bound.exchange == self.names.internal
                found[str(json.loads(bound.arguments).get("x-lane")) if internal else bound.exchange].append(bound)
        return found

    @cached_property
    def permissions(self) -> Mapping[str, dict[str, str]]:
        """Permissions in this virtual host by user."""
        kinds = ("configure", "write", "read")
        return {
            each["user"]: {kind: each[kind] for kind in kinds}
            for each in self._listed(f"{self.api.here('vhosts')}/permissions")
        }

    @cached_property
    def policies(self) -> Mapping[str, dict[str, Any]]:
        return {each["name"]: each for each in self._all("policies")}

    @cached_property
    def applied(self) -> AppliedFile | None:
        """The tenants file that was applied last. Raises ConfigurationError."""
        if self.names.tenants not in self.queues:
            return None
        path = self.api.here("queues", self.names.tenants, "get")
        wanted = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
        # The message is away while a worker looks at it.
        for _ in range(20):
            found = self.api.post(path, wanted)
            if found:
                return AppliedFile.read(str(found[0]["payload"]).encode(), self.names.tenants)
        return None

    @cached_property
    def tenants(self) -> list[str]:
        """Tenants that have an exchange."""
        pattern = re.compile(rf"{re.escape(self.names.prefix)}\.t\.({TENANT_NAME})(\.bulk|\.read)?")
        return sorted({found[1] for name in self.exchanges if (found := pattern.fullmatch(name))})

    @cached_property
    def users(self) -> Mapping[str, dict[str, Any]]:
        """Users of the broker itself by name."""
        found: list[dict[str, Any]] = self.api.get("users") or []
        return {each["name"]: each for each in found}

    def _all(self, kind: str) -> list[dict[str, Any]]:
        return self._listed(self.api.here(kind))

    def _listed(self, path: str) -> list[dict[str, Any]]:
        found = self.api.get(path)
        if found is None:
            raise ConfigurationError(f"RabbitMQ has no virtual host {self.api.vhost!r}")
        return found
