"""Descriptions of the errors in a body, without terms of Python."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails


class Problem(NamedTuple):
    """The first mistake in a body: where it is, and what would be right. `kind` is pydantic's name for it."""

    steps: list[str | int]
    text: str
    kind: str


_TEXTS: dict[str, str] = {
    "missing": "missing",
    "extra_forbidden": "unknown field",
    "model_type": "expected an object",
    "model_attributes_type": "expected an object",
    "dict_type": "expected an object",
    "list_type": "expected a list",
    "string_type": "expected text",
    "string_unicode": "expected text in Unicode",
    "string_sub_type": "expected text",
    "int_type": "expected an integer",
    "int_from_float": "expected an integer",
    "int_parsing": "expected an integer",
    "int_parsing_size": "expected an integer",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "none_required": "expected null",
    "invalid_key": "expected text as the name of a field",
}
_BY_CONTEXT: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than_equal": lambda limits: f"expected {_number(limits['ge'])} or more",
    "greater_than": lambda limits: f"expected more than {_number(limits['gt'])}",
    "less_than_equal": lambda limits: f"expected at most {_number(limits['le'])}",
    "less_than": lambda limits: f"expected less than {_number(limits['lt'])}",
    "too_short": lambda limits: f"expected at least {_number(limits['min_length'])}",
    "too_long": lambda limits: f"expected at most {_number(limits['max_length'])}",
    "string_too_short": lambda limits: f"expected at least {_characters(limits['min_length'])}",
    "literal_error": lambda limits: f"expected {limits['expected']}",
    "enum": lambda limits: f"expected {limits['expected']}",
    "multiple_of": lambda limits: f"expected a multiple of {_number(limits['multiple_of'])}",
    "string_pattern_mismatch": lambda limits: f"expected text that matches {limits['pattern']}",
    "string_too_long": lambda limits: f"expected at most {_characters(limits['max_length'])}",
}


def first_problem(error: ValidationError) -> Problem:
    """Return the first mistake. Its steps are fields and indexes as the sender wrote them."""
    return problems(error)[0]


def problems(error: ValidationError) -> list[Problem]:
    """Return every mistake, as `first_problem` does."""
    return [_problem(found) for found in error.errors(include_input=False, include_url=False)]


def _problem(found: ErrorDetails) -> Problem:
    kind = found["type"]
    if kind in _TEXTS:
        text = _TEXTS[kind]
    elif kind in _BY_CONTEXT:
        text = _BY_CONTEXT[kind](found.get("ctx", {}))
    else:
        # The contract's own validators, whose texts are ours.
        text = found["msg"].removeprefix("Value error, ")
    # pydantic's own steps: "(list)" is an arm of a union, "[key]" the name of a field where the value is not meant.
    steps = [step for step in found["loc"] if isinstance(step, int) or not step.startswith(("(", "[key]"))]
    return Problem(steps, text, kind)


def place(steps: Sequence[str | int]) -> str:
    """Join steps as in a program: points[3].vector."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _number(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _characters(count: int) -> str:
    return f"{count} character" if count == 1 else f"{count} characters"
