from collections.abc import Mapping
from typing import Any

import qdrant_edge as edge

from ..proto import messages
from ..refusal import invalid, invalid_field, unserved

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
_PLAIN = (
    "is_tenant", "is_principal", "lookup", "range", "on_disk", "enable_hnsw",
    "lowercase", "min_token_len", "max_token_len", "phrase_matching", "ascii_folding",
)  # fmt: skip
# Options that a server has, by the version that has them first.
_SINCE = {"memory": "1.19", "prefix": "1.19", "nested": "1.20", "scoring": "1.20"}
_TOKENIZERS = {
    1: edge.TokenizerType.Prefix,
    2: edge.TokenizerType.Whitespace,
    3: edge.TokenizerType.Word,
    4: edge.TokenizerType.Multilingual,
}
# ISO 639-1 codes that a server reads as the name.
_CODES = {
    "ar": "arabic", "az": "azerbaijani", "eu": "basque", "bn": "bengali", "ca": "catalan", "zh": "chinese",
    "da": "danish", "nl": "dutch", "en": "english", "fi": "finnish", "fr": "french", "de": "german", "el": "greek",
    "he": "hebrew", "hi-en": "hinglish", "hu": "hungarian", "hy": "armenian", "id": "indonesian", "it": "italian",
    "jp": "japanese", "kk": "kazakh", "ne": "nepali", "no": "norwegian", "pt": "portuguese", "ro": "romanian",
    "ru": "russian", "sl": "slovene", "es": "spanish", "sv": "swedish", "tg": "tajik", "ta": "tamil", "tr": "turkish",
}  # fmt: skip


def read_schema(request: Any) -> Any:
    """Return the engine's index type or parameters. Raises Refused."""
    if not request.field_name:
        raise invalid_field("field_name", 'value "" invalid, must be at least 1 characters')
    if not request.HasField("field_type"):
        raise invalid("cannot convert field_type")
    if request.field_type >= len(_KINDS):
        raise invalid("Bad request: Can't auto-detect field type, please specify `field_schema` in the request")
    kind = _KINDS[int(request.field_type)]
    chosen = request.field_index_params.WhichOneof("index_params")
    if chosen is None:
        return getattr(edge.PayloadSchemaType, kind)
    if chosen != f"{kind.lower()}_index_params":
        raise invalid(f"field_type ({kind}) and field_index_params do not match")
    return _PARAMS[kind](**_options(getattr(request.field_index_params, chosen)))


def _options(params: Any) -> Mapping[str, Any]:
    given: dict[str, Any] = {}
    if "tokenizer" in params.DESCRIPTOR.fields_by_name and params.tokenizer not in _TOKENIZERS:
        raise invalid("unknown tokenizer type")
    for descriptor, value in params.ListFields():
        name = descriptor.name
        if name == "tokenizer":
            given[name] = _TOKENIZERS[value]
        elif name == "stopwords":
            given[name] = edge.StopwordsSet({_language(each) for each in value.languages}, set(value.custom))
        elif name == "stemmer":
            given[name] = _stemmer(value)
        elif name in _PLAIN:
            given[name] = value
        else:
            raise unserved(f"{name} of an index", _SINCE.get(name, ""))
    if given.get("lookup") is False and given.get("range") is False:
        problem = "Validation error: the 'lookup' and 'range' capabilities can't be both disabled [{}]"
        raise invalid_field("field_index_params.index_params.lookup", problem)
    return given


def _language(name: str) -> Any:
    found = _known(edge.Language, name)
    if found is None:
        raise invalid(f"unknown language: unknown variant `{name}`")
    return found


def _known(languages: Any, name: str) -> Any:
    """Return the language of a name in lower case or of a code; None if there is none."""
    full = _CODES.get(name, name)
    return getattr(languages, full.capitalize(), None) if full.islower() else None


def _stemmer(message: Any) -> Any:
    if message.WhichOneof("stemming_params") != "snowball":
        raise unserved("disabled stemmer", "1.19")
    name: str = message.snowball.language
    found = _known(edge.SnowballLanguage, name)
    if found is None:
        raise invalid(f'Language "{name}" not found.')
    return edge.SnowballParams(found)


def write_schema(target: Any, schema: "Mapping[str, edge.PayloadIndexInfo]") -> None:
    kinds = {getattr(edge.PayloadSchemaType, kind): kind for kind in _KINDS}
    for field, info in schema.items():
        kind = next(name for known, name in kinds.items() if known == info.data_type)
        written = target[field]
        written.data_type = messages.PayloadSchemaType.Value(kind)
        written.points = info.points
        if info.params is not None:
            _write_params(getattr(written.params, f"{kind.lower()}_index_params"), info.params)


def _write_params(target: Any, params: Any) -> None:
    target.SetInParent()
    for name in _PLAIN:
        if name in target.DESCRIPTOR.fields_by_name:
            value = getattr(params, name)
            if value is not None:
                setattr(target, name, value)
    if isinstance(params, edge.TextIndexParams):
        target.tokenizer = next(number for number, known in _TOKENIZERS.items() if known == params.tokenizer)
        _write_stopwords(target, params.stopwords)
        if isinstance(params.stemmer, edge.SnowballParams):
            target.stemmer.snowball.language = _name_of(edge.SnowballLanguage, params.stemmer.language)


def _write_stopwords(target: Any, stopwords: Any) -> None:
    if isinstance(stopwords, edge.StopwordsSet):
        target.stopwords.SetInParent()
        target.stopwords.languages.extend(sorted(_name_of(edge.Language, each) for each in stopwords.languages or ()))
        target.stopwords.custom.extend(sorted(stopwords.custom or ()))
    elif stopwords is not None:
        target.stopwords.languages.append(_name_of(edge.Language, stopwords))


def _name_of(languages: Any, language: Any) -> str:
    names = [name for name in dir(languages) if not name.startswith("_")]
    return next(name.lower() for name in names if getattr(languages, name) == language)
