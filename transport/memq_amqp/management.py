"""RabbitMQ's management API: calls over one connection, and the policies of queues."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from selectors import EVENT_READ, DefaultSelector
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast
from urllib.parse import quote, unquote, urlsplit

from memq_amqp.address import bracketed
from memq_schemas.policies import ExchangePolicy, Loss, QueuePolicies, diverted, losses

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.client import HTTPConnection

    from memq_amqp.address import Address
    from memq_schemas.topology import Names

VARIABLE = "MEMQ_MANAGEMENT_URL"

_COLUMNS = "name,arguments,policy,operator_policy,effective_policy_definition"
_PAGE = 500
_REPEATABLE = ("GET", "PUT", "DELETE")
_EXPECTED = "expected http://host:15672, or https://user:password@host"
# The API shows the policies of a queue with its first statistics, which come every five seconds.
_STATISTICS_SECONDS = 1.0


class Answer(NamedTuple):
    status: int
    reason: str
    body: bytes


class ManagementConnection:
    """Calls to the management API by one user, over a connection that stays open between them. For one thread at once.

    url: without user and password.   timeout: in seconds, of each read and write.
    """

    def __init__(self, url: str, user: str, password: str, timeout: float) -> None:
        parts = urlsplit(url)
        self._is_tls = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._path = f"{parts.path.rstrip('/')}/api/"
        self._timeout = timeout
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        self._kept: HTTPConnection | None = None

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Return the answer to one call, whatever its status.

        Raises OSError and http.client.HTTPException. A call that may have arrived is sent again once, if that changes
        nothing: the broker closes a connection that is idle.
        """
        from http.client import HTTPException

        text = None if body is None else json.dumps(body)
        if self._kept is not None and _is_dropped(self._kept):
            self.close()
        may_be_closed = self._kept is not None and self._kept.sock is not None
        try:
            return self._exchange(method, path, text)
        except (ConnectionError, HTTPException):
            if not may_be_closed or method not in _REPEATABLE:
                raise
        return self._exchange(method, path, text)

    def _exchange(self, method: str, path: str, body: str | None) -> Answer:
        connection = self._kept = self._kept or self._connection()
        try:
            connection.request(method, f"{self._path}{path}", body, self._headers)
            with connection.getresponse() as response:
                return Answer(response.status, response.reason, response.read())
        except BaseException:
            # The rest of an answer would be read as the next one.
            self.close()
            raise

    def _connection(self) -> HTTPConnection:
        # Without a proxy, as the broker's AMQP port is reached.
        from http.client import HTTPConnection, HTTPSConnection

        kind = HTTPSConnection if self._is_tls else HTTPConnection
        return kind(self._host, self._port, timeout=self._timeout)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None


def _is_dropped(connection: HTTPConnection) -> bool:
    """Return True if the broker has closed the connection: between answers it sends nothing else."""
    socket: Any = connection.sock
    if socket is None:  # the last answer had `Connection: close`
        return False
    with DefaultSelector() as selector:
        selector.register(socket, EVENT_READ)
        return bool(selector.select(0))


class ManagementError(Exception):
    """The management API cannot be used. The text says why, without the password."""


class Management:
    """Management API of a broker, to be closed. Its text is for people: the address without user and password."""

    def __init__(self, url: str, user: str, password: str, timeout_seconds: float = 10.0) -> None:
        self.url = url
        self.user = user
        self.timeout_seconds = timeout_seconds
        self.connection = ManagementConnection(url, user, password, timeout_seconds)

    def __str__(self) -> str:
        return self.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

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

        try:
            found = self.connection.call("GET", path)
        except (OSError, HTTPException) as error:
            raise ManagementError(f"{self}: no answer ({error})") from error
        if found.status >= 300:
            raise ManagementError(f"{self}: {_refusal(found.status, self.user)}")
        try:
            answer = json.loads(found.body)
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
