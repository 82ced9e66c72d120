"""Texts that the engine embeds itself, with the BM25 model that a server also has built in."""

from typing import Any

import qdrant_edge as edge

from ..refusal import Refused, StatusCode, unserved

_BM25 = "qdrant/bm25"


def embed_document(document: Any) -> edge.SparseVector:
    """Return the sparse vector of a text to store."""
    return _model(document).embed_document(document.text)


def embed_query(document: Any) -> edge.SparseVector:
    """Return the sparse vector of a text to search for."""
    return _model(document).embed_query(document.text)


def _model(document: Any) -> edge.Bm25:
    if document.model.lower() != _BM25:
        problem = "InferenceService URL not configured - please provide valid address in config"
        raise Refused(StatusCode.INTERNAL, f"Service internal error: {problem}")
    if document.options:
        raise unserved("options of a BM25 document", "1.15")
    return edge.Bm25()
