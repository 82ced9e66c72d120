from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memq.encode.requests import RestModel


class IndexOptions(TypedDict, total=False):
    """Options of an index. Each belongs to some types; an option that is None is left out."""

    on_disk: bool | None
    enable_hnsw: bool | None
    is_tenant: bool | None
    is_principal: bool | None
    lookup: bool | None
    range: bool | None
    tokenizer: Literal["prefix", "whitespace", "word", "multilingual"] | None
    lowercase: bool | None
    ascii_folding: bool | None
    min_token_len: int | None
    max_token_len: int | None
    phrase_matching: bool | None
    stopwords: str | Mapping[str, Any] | RestModel | None
    stemmer: str | Mapping[str, Any] | RestModel | None
