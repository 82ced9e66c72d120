"""Qdrant's scoring formulas as the engine's expressions."""

from collections.abc import Callable
from typing import Any

import qdrant_edge as edge

from ..refusal import from_engine, invalid
from .filters import read_condition
from .values import read_payload

_E = edge.Expression
_DECAYS = {
    "exp_decay": edge.DecayKind.Exp,
    "gauss_decay": edge.DecayKind.Gauss,
    "lin_decay": edge.DecayKind.Lin,
}


def read_formula(message: Any) -> edge.Formula:
    """Raises Refused for an expression that is incomplete or names no variable."""
    if not message.HasField("expression"):
        raise invalid("missing field: expression")
    expression = _expression(message.expression)
    try:
        return edge.Formula(expression, read_payload(message.defaults))
    except (ValueError, TypeError) as error:
        text = str(error).removeprefix("failed to parse formula: ")
        raise invalid(f"Wrong input: {text}") from error


def _expression(message: Any) -> Any:
    kind = message.WhichOneof("variant")
    if kind is None:
        raise invalid("missing field: variant")
    value = getattr(message, kind)
    if kind in _DECAYS:
        return _decay(_DECAYS[kind], value)
    read = _KINDS.get(kind)
    if read is None:
        raise invalid("missing field: variant")
    try:
        return read(value)
    except (ValueError, TypeError) as error:
        raise from_engine(error) from error


def _expressions(messages: Any) -> list[Any]:
    return [_expression(each) for each in messages]


def _div(message: Any) -> Any:
    default = message.by_zero_default if message.HasField("by_zero_default") else None
    return _E.Div(_expression(message.left), _expression(message.right), default)


def _decay(kind: edge.DecayKind, message: Any) -> Any:
    return _E.Decay(
        kind,
        _expression(message.x),
        target=_expression(message.target) if message.HasField("target") else None,
        midpoint=message.midpoint if message.HasField("midpoint") else None,
        scale=message.scale if message.HasField("scale") else None,
    )


_KINDS: dict[str, Callable[[Any], Any]] = {
    "constant": _E.Constant,
    "variable": _E.Variable,
    "condition": lambda each: _E.Condition(read_condition(each)),
    "geo_distance": lambda each: _E.GeoDistance(edge.GeoPoint(each.origin.lon, each.origin.lat), each.to),
    "datetime": _E.Datetime,
    "datetime_key": _E.DatetimeKey,
    "mult": lambda each: _E.Mult(_expressions(each.mult)),
    "sum": lambda each: _E.Sum(_expressions(each.sum)),
    "div": _div,
    "neg": lambda each: _E.Neg(_expression(each)),
    "abs": lambda each: _E.Abs(_expression(each)),
    "sqrt": lambda each: _E.Sqrt(_expression(each)),
    "pow": lambda each: _E.Pow(_expression(each.base), _expression(each.exponent)),
    "exp": lambda each: _E.Exp(_expression(each)),
    "log10": lambda each: _E.Log10(_expression(each)),
    "ln": lambda each: _E.Ln(_expression(each)),
}
