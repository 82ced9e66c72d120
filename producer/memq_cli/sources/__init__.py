"""Files of points, read row by row or batch by batch: JSON Lines, Parquet, Arrow IPC (Feather), numpy matrices with
payloads beside."""

from memq.encode.column_names import ColumnNames
from memq_cli.sources.bad_file import BadFile
from memq_cli.sources.file import Source, open_source

__all__ = ["BadFile", "ColumnNames", "Source", "open_source"]
