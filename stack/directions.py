"""Where a running stack is and what to try on it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from memq_amqp.address import parse

from memq_schemas.topology import DEFAULT_PREFIX
from stack.memories import COLLECTION, DATA
from stack.workers import installed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stack.running import Stack

VARIABLE = "MEMQ_AMQP_URL"
USER_FILTER = '{"must": [{"key": "user", "match": {"value": "u03"}}]}'


def addresses(stack: Stack, beside: Iterable[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    """Addresses of every part for people and programs; `beside` has the rows of the monitoring."""
    broker = stack.broker
    login = parse(broker.amqp_url)[0]
    rows = [("AMQP", broker.amqp_url if stack.ours else f"{broker.how}, names {stack.prefix}.*")]
    if broker.management_url:
        rows.append(("RabbitMQ management", broker.management_url))
        if stack.ours:
            rows.append(("  user, password", f"{login.user}, {login.password}"))
    if broker.prometheus_url:
        rows.append(("Metrics of the broker", f"{broker.prometheus_url}/metrics"))
    rows.append(("Metrics of the workers", stack.workers.metrics_url))
    rows.append(("Qdrant gRPC", stack.workers.qdrant_url.removeprefix("http://")))
    return [*rows, *beside]


def looking(stack: Stack) -> list[str]:
    """Commands to watch the stack and to generate traffic."""
    return [_command(stack, f"top --metrics {stack.workers.metrics_url}"), _command(stack, "traffic --rate 20")]


def setting(stack: Stack) -> str | None:
    """The line that a shell needs before the commands; none where MEMQ_AMQP_URL has already been set by its user."""
    return f"export {VARIABLE}={shlex.quote(stack.broker.amqp_url)}" if stack.ours else None


def with_data(stack: Stack, like: str) -> list[str]:
    """Three commands for a stack that has the memories; `like` is the id of one."""
    return [
        _command(stack, f"count -c {COLLECTION} --filter '{USER_FILTER}'"),
        _command(stack, f"query -c {COLLECTION} --like {like} --limit 3 --fields user,text"),
        _command(stack, f"upsert {_data()} -c again --create --wait"),
    ]


def without_data(stack: Stack, like: str) -> list[str]:
    """Three commands for an empty stack, the first of which loads the memories."""
    return [
        _command(stack, f"upsert {_data()} -c {COLLECTION} --create --wait"),
        _command(stack, f"count -c {COLLECTION} --filter '{USER_FILTER}'"),
        _command(stack, f"query -c {COLLECTION} --like {like} --limit 3 --fields user,text"),
    ]


def _command(stack: Stack, arguments: str) -> str:
    prefix = "" if stack.prefix == DEFAULT_PREFIX else f" --prefix {stack.prefix}"
    return f"{shlex.quote(shown(installed('memq')))} {arguments}{prefix}"


def _data() -> str:
    return shlex.quote(shown(DATA / "memories.parquet"))


def shown(path: Path) -> str:
    """Relative to where the commands will be typed, if it is below that."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
