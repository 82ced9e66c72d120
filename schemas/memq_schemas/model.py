from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator
from pydantic.config import JsonDict


class Model(BaseModel):
    """Shared by every body and reply: unknown fields are refused, types not coerced, errors never quote input."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        ser_json_inf_nan="null",
    )


def given(which: Literal["oneOf", "anyOf"], *names: str) -> Callable[[JsonDict], None]:
    """For `json_schema_extra`: exactly one, or at least one, of the fields is there and not null."""

    def extend(schema: JsonDict) -> None:
        arms: list[Any] = [{"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in names]
        schema[which] = arms

    return extend


def by_type(expected: str, tags: dict[type, str]) -> Discriminator:
    """Picks the arm of a union by the value's type, so that a mistake is one error and not one for each arm."""

    def tag(value: object) -> str | None:
        return next((name for kind, name in tags.items() if isinstance(value, kind)), None)

    return Discriminator(tag, custom_error_type="type", custom_error_message=f"expected {expected}")
