from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from memq_schemas.conditions import Key
from memq_schemas.limits import MAX_KEYS
from memq_schemas.model import Input, Model
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

_Word = Annotated[str, Field(min_length=1, max_length=255)]


class Stopwords(Input):
    """Words that a text index leaves out: those of languages, such as `english`, and words of one's own."""

    languages: Annotated[list[_Word], Field(fail_fast=True, max_length=MAX_KEYS)] | None = None
    custom: Annotated[list[_Word], Field(fail_fast=True, max_length=10_000)] | None = None


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
    min_token_len: Annotated[int, Field(ge=1, le=10_000)] | None = None
    max_token_len: Annotated[int, Field(ge=1, le=10_000)] | None = None
    phrase_matching: bool | None = None
    stopwords: Stopwords | None = None
    stemmer: Annotated[_Word | None, Field(description="a Snowball language, such as `english`")] = None

    @model_validator(mode="after")
    def _options_of_the_type(self) -> "CreateIndex":
        for name, types in _TYPES_OF.items():
            if getattr(self, name) is not None and self.type not in types:
                raise ValueError(f"{name}: an index of type {self.type} has no such option")
        if self.lookup is False and self.range is False:
            raise ValueError("lookup and range cannot both be false")
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
