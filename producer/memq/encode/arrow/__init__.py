"""Points as Arrow IPC messages: built column by column, without a Python number for each of a vector's."""

from memq.encode.arrow.columns import fits, from_columns
from memq.encode.arrow.library import installed
from memq.encode.arrow.messages import ArrowBatch, WirePoints, split
from memq.encode.arrow.table import ArrowStream, PointTable, is_arrow

__all__ = [
    "ArrowBatch",
    "ArrowStream",
    "PointTable",
    "WirePoints",
    "fits",
    "from_columns",
    "installed",
    "is_arrow",
    "split",
]
