from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Discriminator, GetJsonSchemaHandler, model_validator
from pydantic.config import JsonDict
from pydantic_core import core_schema

Item = TypeVar("Item")


class Model(BaseModel):
    """Configuration of every body and reply: no unknown fields, no coercion of types, no input in errors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        ser_json_inf_nan="null",
    )


class Input(Model):
    """An object that a client sends. `null` for an optional field is the same as leaving the field out.

    `siblings` are the fields of the other arms of a union, which may be there as null: typed languages have one class
    for the whole union, and write all its fields.
    """

    siblings: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        fields = cast("dict[str, Any]", value)
        optional, required = _names(cls)
        present: dict[str, Any] = {}
        unknown = False
        for name, inner in fields.items():
            if inner is None and (name in optional or name in cls.siblings):
                continue
            if name not in optional and name not in required:
                # One unknown field is refused like a hundred thousand, each of which would be an error of its own.
                if unknown:
                    continue
                unknown = True
            present[name] = inner
        return present

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> JsonDict:
        found = handler(schema)
        own = handler.resolve_ref_schema(found)
        optional, _ = _names(cls)
        properties = own.get("properties", {})
        for name in optional & properties.keys():
            properties[name] = _nullable(properties[name])
        for name in sorted(cls.siblings - properties.keys()):
            own.setdefault("properties", {})[name] = {"type": "null"}
        return found


@cache
def _names(model: type[BaseModel]) -> tuple[frozenset[str], frozenset[str]]:
    """Names on the wire of the optional and of the required fields."""
    fields = [(field.alias or name, field.is_required()) for name, field in model.model_fields.items()]
    optional = frozenset(name for name, is_required in fields if not is_required)
    return optional, frozenset(name for name, is_required in fields if is_required)


_ABOUT = ("title", "description", "default", "examples")


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if {"type": "null"} in schema.get("anyOf", ()) or schema.get("type") == "null":
        return schema
    about = {key: value for key, value in schema.items() if key in _ABOUT}
    constraints = {key: value for key, value in schema.items() if key not in _ABOUT}
    if list(constraints) == ["anyOf"]:
        return {"anyOf": [*constraints["anyOf"], {"type": "null"}], **about}
    return {"anyOf": [constraints, {"type": "null"}], **about}


def given(which: Literal["oneOf", "anyOf"], *names: str) -> Callable[[JsonDict], None]:
    """Value for `json_schema_extra` that requires exactly one, or at least one, of the fields, not null."""

    def extend(schema: JsonDict) -> None:
        arms: list[Any] = [{"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in names]
        schema[which] = arms

    return extend


def by_type(expected: str, tags: dict[type, str]) -> Discriminator:
    """Pick the arm of a union by the value's type, so that a mistake is one error and not one for each arm."""

    def tag(value: object) -> str | None:
        return next((name for kind, name in tags.items() if isinstance(value, kind)), None)

    return Discriminator(tag, custom_error_type="type", custom_error_message=f"expected {expected}")


def how_many(value: object) -> str:
    """Return the tag of a union of a list, and of one item that stands for a list of one."""
    return "(list)" if isinstance(value, list) else "(one)"


def listed(given: Item | list[Item] | None) -> list[Item]:
    """Return the items of a field whose tag is that of `how_many`; none for a field that is absent."""
    return [] if given is None else given if isinstance(given, list) else [given]  # pyright: ignore[reportUnknownVariableType]


def first_given(value: Any, names: dict[str, str], otherwise: str) -> str:
    """Tag of a union of objects: the first of the `names` that the object has with a value other than null."""
    fields = cast("dict[str, Any]", value)
    return next((tag for name, tag in names.items() if fields.get(name) is not None), otherwise)
