"""Translation of a body into what the store is asked on behalf of a tenant, by the rule of each field."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from pydantic import TypeAdapter

from memq_schemas import ErrorCode, Filter
from memq_schemas.conditions import FieldCondition, MatchValue
from memq_schemas.filters import Condition
from memq_schemas.ids import canonical_uuid
from memq_schemas.model import Model
from memq_schemas.points import VERSION_KEY
from memq_schemas.searches import names_point
from memq_worker.errors import MessageError
from memq_worker.pipeline.spaces.hidden_keys import ID_KEY, TENANT_KEY, check_keys, check_path, hides
from memq_worker.pipeline.spaces.rules import RULES, Rule
from memq_worker.pipeline.store import Id

M = TypeVar("M", bound=Model)

_CONDITION: TypeAdapter[Any] = TypeAdapter(Condition)
# Operators of a formula, by their operand: a formula or a list of them, and an object of formulas.
_ON_FORMULAS = frozenset(("abs", "neg", "sqrt", "exp", "log10", "ln", "sum", "mult"))
_ON_OBJECTS = frozenset(("div", "pow", "exp_decay", "gauss_decay", "lin_decay"))


class Names(Protocol):
    """How a tenant's names stand in the store."""

    @property
    def owner(self) -> str | None:
        """The tenant whose points alone are selected; None where the collection holds no others."""
        ...

    def collection(self, name: str) -> str:
        """Return the name in the store. Raises MessageError for a collection that the tenant does not have."""
        ...

    def alias(self, name: str) -> str: ...

    def point(self, point: Id) -> Id: ...


def walk(body: M, names: Names) -> M:
    """Return the body as the store is asked. Raises MessageError for a field that a tenant may not use."""
    return _Walk(names).model(body)


def owned(condition: Filter | None, tenant: str) -> Filter:
    """Return the filter joined with the condition that a point is the tenant's."""
    own = FieldCondition(key=TENANT_KEY, match=MatchValue(value=tenant))
    if condition is None:
        return Filter(must=[own])
    return condition.model_copy(update={"must": [own, *_listed(condition.must)]})


def _listed(value: Any) -> list[Any]:
    return [] if value is None else cast("list[Any]", value) if isinstance(value, list) else [value]


class _Walk:
    """nested: inside a filter of array elements, whose keys are below a key of the tenant's payload."""

    def __init__(self, names: Names, *, nested: bool = False) -> None:
        self._names = names
        self._nested = nested

    def model(self, body: M) -> M:
        kind = type(body)
        rules = RULES.get(kind)
        if rules is None:
            raise _refused(kind.__name__)
        changed: dict[str, Any] = {}
        for name in body.model_fields_set:
            rule = rules.get(name)
            if rule is None:
                raise _refused(name)
            value = getattr(body, name)
            if value is not None and rule is not Rule.PLAIN:
                changed[name] = _CHANGES[rule](self, value, name)
        owner = self._names.owner
        for name, rule in rules.items():
            if rule is Rule.SELECTION and owner is not None and getattr(body, "ids", None) is None:
                changed[name] = owned(changed.get(name), owner)
            elif rule is Rule.RETURNED and name not in changed:
                changed[name] = self._returned(getattr(body, name))
        return body.model_copy(update=changed) if changed else body

    def inner(self, value: Any, _: str) -> Any:
        return _each(value, self.model)

    def nested(self, value: Any, _: str) -> Any:
        return _Walk(self._names, nested=True).model(value)

    def path(self, value: str, name: str) -> str:
        if not self._nested:
            check_path(value, name)
        return value

    def paths(self, value: Any, name: str) -> Any:
        for each in value:
            self.path(each, name)
        return value

    def payload(self, value: dict[str, Any], name: str) -> dict[str, Any]:
        check_keys(value, name)
        return value

    def returned(self, value: bool | list[str], _: str) -> bool | list[str]:
        return self._returned(value)

    def points(self, value: Any, _: str) -> Any:
        return _each(value, self._names.point)

    def input(self, value: Any, _: str) -> Any:
        return self._input(value)

    def inputs(self, value: list[Any], _: str) -> Any:
        return [self._input(each) for each in value]

    def collection(self, value: str, _: str) -> str:
        return self._names.collection(value)

    def alias(self, value: str, _: str) -> str:
        return self._names.alias(value)

    def formula(self, value: Any, _: str) -> Any:
        return self._formula(value)

    def _returned(self, wanted: bool | list[str]) -> bool | list[str]:
        """Keys to return of a payload: where ids are mapped, always the one of the original id."""
        if self._names.owner is None or wanted is True:
            return wanted
        return [*(key for key in wanted or () if key == VERSION_KEY or not hides(key)), ID_KEY]

    def _input(self, value: Any) -> Any:
        if isinstance(value, Model):
            return self.model(value)
        if names_point(value):
            return self._names.point(canonical_uuid(value) if isinstance(value, str) else value)
        return value

    def _formula(self, part: Any) -> Any:
        if isinstance(part, str):
            return self.path(part, "formula")
        if isinstance(part, list):
            return [self._formula(each) for each in cast("list[Any]", part)]
        return self._operator(cast("dict[str, Any]", part)) if isinstance(part, dict) else part

    def _operator(self, fields: dict[str, Any]) -> Any:
        name, value = next(iter(fields.items()))
        if name in _ON_FORMULAS:
            return {name: self._formula(value)}
        if name in _ON_OBJECTS:
            return {name: {field: self._formula(operand) for field, operand in value.items()}}
        if name in ("datetime_key", "geo_distance"):
            self.path(value if name == "datetime_key" else value["to"], "formula")
            return fields
        if name == "datetime":
            return fields
        condition = self.model(_CONDITION.validate_python(fields))
        return condition.model_dump(mode="json", by_alias=True, exclude_none=True)


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    return [change(each) for each in cast("list[Any]", value)] if isinstance(value, list) else change(value)


_CHANGES: dict[Rule, Callable[[_Walk, Any, str], Any]] = {
    Rule.INNER: _Walk.inner,
    Rule.SELECTION: _Walk.inner,
    Rule.NESTED: _Walk.nested,
    Rule.KEY: _Walk.path,
    Rule.KEYS: _Walk.paths,
    Rule.KEYED: _Walk.paths,
    Rule.RETURNED: _Walk.returned,
    Rule.PAYLOAD: _Walk.payload,
    Rule.FORMULA: _Walk.formula,
    Rule.ID: _Walk.points,
    Rule.IDS: _Walk.points,
    Rule.INPUT: _Walk.input,
    Rule.INPUTS: _Walk.inputs,
    Rule.COLLECTION: _Walk.collection,
    Rule.ALIAS: _Walk.alias,
}


def _refused(name: str) -> MessageError:
    return MessageError(ErrorCode.FORBIDDEN, f"{name}: not available to tenants", stage="validate")
