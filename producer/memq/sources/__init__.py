"""Files of points, read row by row: JSON Lines, Parquet, Arrow IPC (Feather), numpy matrices with payloads beside."""

from memq.sources.columns import BadFile, ColumnNames
from memq.sources.file import Source, open_source

__all__ = ["BadFile", "ColumnNames", "Source", "open_source"]
