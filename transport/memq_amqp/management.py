"""Reads queues and their policies from RabbitMQ's management API."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, unquote, urlsplit

from memq_amqp.address import bracketed
from memq_schemas.policies import ExchangePolicy, Loss, QueuePolicies, diverted, losses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memq_amqp.address import Address
    from memq_schemas.topology import Names

VARIABLE = "MEMQ_MANAGEMENT_URL"

_COLUMNS = "name,arguments,policy,operator_policy,effective_policy_definition"
_PAGE = 500
_EXPECTED = "expected http://host:15672, or https://user:password@host"
# The API shows the policies of a queue with its first statistics, which come every five seconds.
_STATISTICS_SECONDS = 1.0


def call(
    url: str, user: str, password: str, *, method: str = "GET", body: Mapping[str, Any] | None = None, timeout: float
) -> bytes:
    """Return the answer of one call to the management API, empty if it has none.

    Raises OSError, of which urllib.error.HTTPError is one and its caller closes, http.client.HTTPException, and
    ValueError for a URL that is none.
    """
    from urllib.request import ProxyHandler, Request, build_opener

    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
    )
    # Without a proxy, as the broker's AMQP port is reached.
    with build_opener(ProxyHandler({})).open(request, timeout=timeout) as response:
        return bytes(response.read())


class ManagementError(Exception):
    """The management API cannot be used. The text says why, without the password."""


@dataclass(frozen=True, slots=True)
class Management:
    """Management API of a broker. Its text is for people: the address without user and password."""

    url: str
    user: str = field(repr=False)
    password: str = field(repr=False)
    timeout_seconds: float = 10.0

    def __str__(self) -> str:
        return self.url

    async def queues(self, vhost: str, prefix: str) -> list[QueuePolicies]:
        """Return the queues below `prefix` with their effective policies.

        Waits until the API knows the policies of every queue, for at most `timeout_seconds`. Raises ManagementError.
        """
        version = str((await self._get("overview"))["rabbitmq_version"])
        deadline = asyncio.get_running_loop().time() + self.timeout_seconds
        while True:
            rows = await self._rows("queues", vhost, prefix, _COLUMNS)
            if not (unknown := [row["name"] for row in rows if "effective_policy_definition" not in row]):
                return [_queue(row, version) for row in rows]
            if asyncio.get_running_loop().time() > deadline:
                raise ManagementError(f"{self}: no policies known yet of queue {unknown[0]!r}; try again in a minute")
            await asyncio.sleep(_STATISTICS_SECONDS)

    async def losses(self, vhost: str, names: Names, queues: list[QueuePolicies]) -> list[Loss]:
        """Return every way in which policies of these queues and of memq's exchanges lose messages.

        Raises ManagementError.
        """
        exchanges = await self.alternates(vhost, names.prefix)
        return [*(loss for queue in queues for loss in losses(queue, names)), *map(diverted, exchanges)]

    async def alternates(self, vhost: str, prefix: str) -> list[ExchangePolicy]:
        """Return the exchanges below `prefix` to which a policy gives an alternate exchange. Raises ManagementError."""
        rows = await self._rows("exchanges", vhost, prefix, "name,policy")
        definitions: dict[str, Mapping[str, Any]] = {}
        for policy in {str(row["policy"]) for row in rows if row.get("policy")}:
            answer = await self._get(f"policies/{quote(vhost, safe='')}/{quote(policy, safe='')}")
            definitions[policy] = answer["definition"]
        return [
            ExchangePolicy(row["name"], row["policy"], alternate)
            for row in rows
            if (alternate := definitions.get(row.get("policy") or "", {}).get("alternate-exchange"))
        ]

    async def _rows(self, kind: str, vhost: str, prefix: str, columns: str) -> list[dict[str, Any]]:
        pattern = quote(f"^{re.escape(prefix)}\\.", safe="")
        rows: list[dict[str, Any]] = []
        for page in range(1, 1_000):
            path = f"{kind}/{quote(vhost, safe='')}?page={page}&page_size={_PAGE}&name={pattern}&use_regex=true"
            answer = await self._get(f"{path}&columns={columns}")
            rows += answer["items"]
            if page >= answer["page_count"]:
                break
        return rows

    async def _get(self, path: str) -> dict[str, Any]:
        return await asyncio.to_thread(self._read, path)

    def _read(self, path: str) -> dict[str, Any]:
        from http.client import HTTPException
        from urllib.error import HTTPError

        try:
            found = call(f"{self.url}/api/{path}", self.user, self.password, timeout=self.timeout_seconds)
            answer = json.loads(found)
        except HTTPError as error:
            error.close()
            raise ManagementError(f"{self}: {_refusal(error.code, self.user)}") from error
        except (OSError, HTTPException) as error:
            raise ManagementError(f"{self}: no answer ({getattr(error, 'reason', None) or error})") from error
        except ValueError as error:
            raise ManagementError(f"{self}: not the management API of RabbitMQ") from error
        if not isinstance(answer, dict):
            raise ManagementError(f"{self}: not the management API of RabbitMQ")
        return cast("dict[str, Any]", answer)


def _refusal(status: int, user: str) -> str:
    if status == 401:
        return f"user {user!r} refused: wrong password, or a user without the tag 'monitoring' or 'management'"
    if status == 404:
        return "no such virtual host, or not the management API of RabbitMQ"
    return f"HTTP status {status}"


def management(url: str, broker: Address, timeout_seconds: float = 10.0) -> Management:
    """Return the management API at `url`, with the user of `broker` unless `url` names one.

    Raises ManagementError.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ManagementError(f"not a URL: {_EXPECTED}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ManagementError(f"not a URL of the management API: {_EXPECTED}")
    place = bracketed(host) if port is None else f"{bracketed(host)}:{port}"
    user, password = broker.user, broker.password
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
    return Management(f"{parts.scheme}://{place}{parts.path.rstrip('/')}", user, password, timeout_seconds)


def _queue(row: Mapping[str, Any], version: str) -> QueuePolicies:
    definition = row.get("effective_policy_definition")
    return QueuePolicies(
        name=row["name"],
        arguments=row.get("arguments") or {},
        policy=row.get("policy") or None,
        operator_policy=row.get("operator_policy") or None,
        # An empty definition is an empty list on some versions.
        definition=cast("Mapping[str, Any]", definition) if isinstance(definition, dict) else {},
        version=version,
    )
