from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, Tag, model_validator

from memq_schemas.conditions import Key
from memq_schemas.limits import MAX_KEYS
from memq_schemas.model import Input, Model, by_type
from memq_schemas.points import VERSION_KEY


class IndexType(StrEnum):
    KEYWORD = "keyword"
    INTEGER = "integer"
    FLOAT = "float"
    GEO = "geo"
    TEXT = "text"
    BOOL = "bool"
    DATETIME = "datetime"
    UUID = "uuid"


def _index_type(value: object) -> object:
    if isinstance(value, str):
        try:
            return IndexType(value)
        except ValueError:
            raise ValueError(f"expected one of {', '.join(IndexType)}") from None
    return value


_TENANT = {IndexType.KEYWORD, IndexType.UUID}
_PRINCIPAL = {IndexType.INTEGER, IndexType.FLOAT, IndexType.DATETIME}
_INTEGER = {IndexType.INTEGER}
_TEXT = {IndexType.TEXT}
_TYPES_OF = {
    "is_tenant": _TENANT,
    "is_principal": _PRINCIPAL,
    "lookup": _INTEGER,
    "range": _INTEGER,
    "tokenizer": _TEXT,
    "lowercase": _TEXT,
    "ascii_folding": _TEXT,
    "min_token_len": _TEXT,
    "max_token_len": _TEXT,
    "phrase_matching": _TEXT,
    "stopwords": _TEXT,
    "stemmer": _TEXT,
}

_Language = Annotated[str, Field(min_length=1, max_length=255)]
_TokenLength = Annotated[int, Field(ge=0, le=2**63 - 1)]


class Stopwords(Input):
    """Words that a text index leaves out: those of languages, such as `english` or `en`, and words of one's own."""

    languages: Annotated[list[_Language], Field(fail_fast=True, max_length=MAX_KEYS)] | None = None
    custom: Annotated[list[str], Field(fail_fast=True, max_length=10_000)] | None = None


class Snowball(Input):
    """The stemmer of a text index, as in Qdrant's REST API."""

    type: Literal["snowball"]
    language: _Language


_Stopwords = Annotated[
    Annotated[_Language, Tag("(language)")] | Annotated[Stopwords, Tag("(words)")],
    by_type("a language, or an object of languages and custom", {str: "(language)", dict: "(words)"}),
]
_Stemmer = Annotated[
    Annotated[_Language, Tag("(language)")] | Annotated[Snowball, Tag("(snowball)")],
    by_type("a language, or an object of type and language", {str: "(language)", dict: "(snowball)"}),
]


class CreateIndex(Input):
    """Body of `index.create.<collection>`. The answer comes when the store has accepted it; building may take longer.

    Each option belongs to some types: `is_tenant` to keyword and uuid, `is_principal` to integer, float and datetime,
    `lookup` and `range` to integer, and the last eight to text.
    """

    key: Key
    type: Annotated[IndexType, BeforeValidator(_index_type)]
    on_disk: bool | None = None
    enable_hnsw: bool | None = None
    is_tenant: bool | None = None
    is_principal: bool | None = None
    lookup: bool | None = None
    range: bool | None = None
    tokenizer: Literal["prefix", "whitespace", "word", "multilingual"] | None = None
    lowercase: bool | None = None
    ascii_folding: bool | None = None
    min_token_len: _TokenLength | None = None
    max_token_len: _TokenLength | None = None
    phrase_matching: bool | None = None
    stopwords: Annotated[
        _Stopwords | None,
        Field(description="words left out: those of a language, such as `english` or `en`, or an object"),
    ] = None
    stemmer: Annotated[
        _Stemmer | None, Field(description="a Snowball language, such as `english` or `en`, alone or in an object")
    ] = None

    @model_validator(mode="after")
    def _options_of_the_type(self) -> "CreateIndex":
        for name, types in _TYPES_OF.items():
            if getattr(self, name) is not None and self.type not in types:
                raise ValueError(f"{name}: an index of type {self.type} has no such option")
        if self.lookup is False and self.range is False:
            raise ValueError("lookup: false, as is range; an integer index has at least one of them")
        whole = self.type is IndexType.INTEGER and self.lookup is not False and self.range is not False
        if self.key == VERSION_KEY and not whole:
            raise ValueError(
                f"type: the key '{VERSION_KEY}' is memq's own, its index is of type integer, with lookup and range"
            )
        return self


class IndexCreated(Model):
    accepted: Annotated[bool, Field(description="true: the store has it, and builds it")]


class DeleteIndex(Input):
    """Body of `index.delete.<collection>`."""

    key: Key


class IndexDeleted(Model):
    accepted: Annotated[bool, Field(description="true, also when there was no index on the key")]
