"""As much of JSON Schema 2020-12 as our generated files use, and a refusal to guess at anything more."""

import re
from collections.abc import Callable
from typing import Any

IGNORED = {"$schema", "$defs", "title", "description", "default", "examples", "contentEncoding", "format"}
TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (
        not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    ),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _is_number(value: Any) -> bool:
    return TYPES["number"](value)


class Schema:
    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root

    def accepts(self, value: Any, schema: Any = None) -> bool:
        schema = self._root if schema is None else schema
        if isinstance(schema, bool):
            return schema
        return all(self._keyword(name, wanted, schema, value) for name, wanted in schema.items())

    def _keyword(self, name: str, wanted: Any, schema: dict[str, Any], value: Any) -> bool:
        if name in IGNORED:
            return True
        if name == "additionalProperties":
            known = schema.get("properties", {})
            return not isinstance(value, dict) or all(self.accepts(value[k], wanted) for k in value if k not in known)
        return getattr(self, "_" + name.replace("$", ""))(wanted, value)

    def _ref(self, wanted: str, value: Any) -> bool:
        node: Any = self._root
        for step in wanted.removeprefix("#/").split("/"):
            node = node[step]
        return self.accepts(value, node)

    def _type(self, wanted: str | list[str], value: Any) -> bool:
        return any(TYPES[kind](value) for kind in ([wanted] if isinstance(wanted, str) else wanted))

    def _enum(self, wanted: list[Any], value: Any) -> bool:
        return value in wanted

    def _const(self, wanted: Any, value: Any) -> bool:
        return value == wanted

    def _not(self, wanted: Any, value: Any) -> bool:
        return not self.accepts(value, wanted)

    def _anyOf(self, wanted: list[Any], value: Any) -> bool:
        return any(self.accepts(value, arm) for arm in wanted)

    def _oneOf(self, wanted: list[Any], value: Any) -> bool:
        return sum(self.accepts(value, arm) for arm in wanted) == 1

    def _properties(self, wanted: dict[str, Any], value: Any) -> bool:
        return not isinstance(value, dict) or all(self.accepts(value[k], wanted[k]) for k in value if k in wanted)

    def _required(self, wanted: list[str], value: Any) -> bool:
        return not isinstance(value, dict) or all(name in value for name in wanted)

    def _propertyNames(self, wanted: Any, value: Any) -> bool:
        return not isinstance(value, dict) or all(self.accepts(name, wanted) for name in value)

    def _minProperties(self, wanted: int, value: Any) -> bool:
        return not isinstance(value, dict) or len(value) >= wanted

    def _items(self, wanted: Any, value: Any) -> bool:
        return not isinstance(value, list) or all(self.accepts(item, wanted) for item in value)

    def _minItems(self, wanted: int, value: Any) -> bool:
        return not isinstance(value, list) or len(value) >= wanted

    def _maxItems(self, wanted: int, value: Any) -> bool:
        return not isinstance(value, list) or len(value) <= wanted

    def _maxProperties(self, wanted: int, value: Any) -> bool:
        return not isinstance(value, dict) or len(value) <= wanted

    def _maxLength(self, wanted: int, value: Any) -> bool:
        return not isinstance(value, str) or len(value) <= wanted

    def _minLength(self, wanted: int, value: Any) -> bool:
        return not isinstance(value, str) or len(value) >= wanted

    def _pattern(self, wanted: str, value: Any) -> bool:
        return not isinstance(value, str) or bool(re.search(wanted, value))

    def _minimum(self, wanted: float, value: Any) -> bool:
        return not _is_number(value) or value >= wanted

    def _exclusiveMinimum(self, wanted: float, value: Any) -> bool:
        return not _is_number(value) or value > wanted

    def _maximum(self, wanted: float, value: Any) -> bool:
        return not _is_number(value) or value <= wanted
