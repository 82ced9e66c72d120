"""Scoring formulas, converted by qdrant-client.

Its REST models are half a second of CPU to import: `searches` imports this module with the first formula.
"""

from typing import Any

from qdrant_client.conversions.conversion import RestToGrpc
from qdrant_client.http import models

from memq_schemas import searches


def formula_of(query: searches.Formula) -> Any:
    """Return the Formula. Raises ValueError for operands of the wrong type."""
    fields = query.model_dump(by_alias=True, exclude_none=True)
    return RestToGrpc.convert_formula_query(models.FormulaQuery.model_validate(fields))
