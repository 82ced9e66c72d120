from collections.abc import Mapping
from typing import Any

import qdrant_edge as edge

from ..proto import messages
from ..refusal import invalid, unserved

_KINDS = ("Keyword", "Integer", "Float", "Geo", "Text", "Bool", "Datetime", "Uuid")
_PARAMS = {
    "Keyword": edge.KeywordIndexParams,
    "Integer": edge.IntegerIndexParams,
    "Float": edge.FloatIndexParams,
    "Geo": edge.GeoIndexParams,
    "Text": edge.TextIndexParams,
    "Bool": edge.BoolIndexParams,
    "Datetime": edge.DatetimeIndexParams,
    "Uuid": edge.UuidIndexParams,
}
_SERVED = {
    "is_tenant", "is_principal", "lookup", "range", "on_disk", "enable_hnsw",
    "lowercase", "min_token_len", "max_token_len", "phrase_matching", "ascii_folding",
}  # fmt: skip
_TOKENIZERS = {
    1: edge.TokenizerType.Prefix,
    2: edge.TokenizerType.Whitespace,
    3: edge.TokenizerType.Word,
    4: edge.TokenizerType.Multilingual,
}


def read_schema(request: Any) -> Any:
    if not request.HasField("field_type"):
        raise invalid("cannot convert field_type")
    if request.field_type >= len(_KINDS):
        raise invalid("field type is missing")
    kind = _KINDS[int(request.field_type)]
    chosen = request.field_index_params.WhichOneof("index_params")
    if chosen is None:
        return getattr(edge.PayloadSchemaType, kind)
    if chosen != f"{kind.lower()}_index_params":
        raise invalid(f"field_type (Some({kind})) and field_index_params do not match")
    return _PARAMS[kind](**_options(getattr(request.field_index_params, chosen)))


def _options(params: Any) -> Mapping[str, Any]:
    given: dict[str, Any] = {}
    for descriptor, value in params.ListFields():
        name = descriptor.name
        if name == "tokenizer" and value in _TOKENIZERS:
            given[name] = _TOKENIZERS[value]
        elif name in _SERVED:
            given[name] = value
        else:
            raise unserved(f"An index with {name}")
    return given


def write_schema(target: Any, schema: "Mapping[str, edge.PayloadIndexInfo]") -> None:
    kinds = {getattr(edge.PayloadSchemaType, kind): kind for kind in _KINDS}
    for field, info in schema.items():
        kind = next(name for known, name in kinds.items() if known == info.data_type)
        target[field].data_type = messages.PayloadSchemaType.Value(kind)
        target[field].points = info.points
