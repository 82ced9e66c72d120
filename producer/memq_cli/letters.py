"""Presentation of dead letters: a line each in a table, or one letter whole."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import orjson

from memq_cli.output import compact, printable
from memq_cli.units import age, size
from memq_schemas.properties import legible

if TYPE_CHECKING:
    from memq.dead import DeadLetter, Tally

HEADINGS = ["n", "failed at", "code", "op", "collection", "attempts", "age", "size", "reason", "tenant"]
NUMBERS_SHOWN = 6
TEXT_SHOWN = 300
RAW_SHOWN = 512


def row(letter: DeadLetter, now: datetime) -> list[str]:
    seconds = letter.age(now)
    cells = [
        str(letter.position),
        "" if letter.failed_at is None else moment(letter.failed_at),
        letter.code,
        letter.operation,
        letter.collection or "",
        str(letter.attempts),
        "" if seconds is None else age(seconds),
        size(letter.size),
        letter.reason,
        letter.tenant or "",
    ]
    return [printable(cell) for cell in cells]


def codes(tally: Tally) -> str:
    return ", ".join(f"{printable(code)} {count:,}" for code, count in tally.codes.most_common())


def outline(letter: DeadLetter) -> dict[str, Any]:
    """Letter as JSON fields, without the body."""
    names = [name for name in letter.__slots__ if name not in ("headers", "properties", "body")]
    found = {name: getattr(letter, name) for name in names}
    return {name: legible(value) if isinstance(value, str) else value for name, value in found.items()}


def whole(letter: DeadLetter) -> dict[str, Any]:
    return outline(letter) | {
        "properties": plain(letter.properties),
        "headers": plain(letter.headers),
        "body": content(letter.body or b""),
    }


def content(body: bytes) -> Any:
    """The JSON that it is, or its text, or the beginning of it as bytes written out. Long parts are cut."""
    try:
        return cut(orjson.loads(body))
    except ValueError:
        pass
    try:
        return cut(body.decode())
    except UnicodeDecodeError:
        return f"{body[:RAW_SHOWN]!r}" + ("…" if len(body) > RAW_SHOWN else "")


def cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > TEXT_SHOWN:
        return f"{value[:TEXT_SHOWN]}… ({len(value):,} characters)"
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if len(items) > NUMBERS_SHOWN and all(isinstance(item, (int, float)) for item in items):
            return [*items[:NUMBERS_SHOWN], f"… {len(items):,} numbers"]
        return [cut(item) for item in items]
    if isinstance(value, dict):
        return {name: cut(item) for name, item in cast("dict[str, Any]", value).items()}
    return value


def pretty(value: Any) -> str:
    """Indented, numbers of a vector on one line."""
    return "\n".join(_lines(value, ""))


def _lines(value: Any, indent: str) -> list[str]:
    if isinstance(value, str):
        return [printable(line) for line in value.splitlines() or [""]]
    if isinstance(value, Mapping):
        found: list[str] = []
        for name, item in cast("Mapping[str, Any]", value).items():
            found += _labelled(f"{printable(name)}:", item, indent)
        return found or ["{}"]
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if not any(isinstance(item, (dict, list)) for item in items):
            return [printable(compact(items))]
        return [line for item in items for line in _labelled("-", item, indent)]
    return [printable(compact(value))]


def _labelled(label: str, item: Any, indent: str) -> list[str]:
    lines = _lines(item, "")
    if len(lines) == 1 and not (isinstance(item, Mapping) and item):
        return [f"{indent}{label} {lines[0]}"]
    return [f"{indent}{label}", *(f"{indent}  {line}" for line in lines)]


def plain(value: Any) -> Any:
    """Headers may hold anything that AMQP has; JSON gets their text where it has no such type."""
    if isinstance(value, Mapping):
        return {legible(str(name)): plain(item) for name, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, str):
        return legible(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    return value if value is None or isinstance(value, (int, float)) else repr(value)


def moment(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
