import re
from collections.abc import Iterable
from typing import Any

from ..refusal import invalid

# What Rust's Uuid::parse_str takes. Python's UUID() is laxer about dashes, and would accept here what a server refuses.
_HEX = "[0-9a-fA-F]"
_HYPHENATED = f"{_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}"
_UUID = re.compile(rf"{_HEX}{{32}}|{_HYPHENATED}|\{{{_HYPHENATED}\}}|urn:uuid:{_HYPHENATED}")


def is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None


def read_id(point_id: Any) -> int | str:
    if point_id.WhichOneof("point_id_options") is None:
        raise invalid("Empty ID is not allowed")
    if not point_id.HasField("uuid"):
        return point_id.num
    text: str = point_id.uuid
    if not is_uuid(text):
        raise invalid(f"Unable to parse UUID: {text}")
    return text


def read_ids(point_ids: Iterable[Any]) -> list[int | str]:
    return [read_id(each) for each in point_ids]


def write_id(point_id: Any, identifier: Any) -> None:
    if isinstance(identifier, int):
        point_id.num = identifier
    else:
        point_id.uuid = str(identifier)
