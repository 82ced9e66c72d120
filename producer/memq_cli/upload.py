from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from memq.encode.arrow import WirePoints
from memq.errors import InvalidPoint
from memq.producer import MIB
from memq_cli.creation import create, measured
from memq_cli.output import emit, notice, say
from memq_cli.progress import UploadProgress
from memq_cli.sources import BadFile
from memq_cli.sources.hints import hint
from memq_cli.sources.read_ahead import checked, encoded

if TYPE_CHECKING:
    from collections.abc import Generator

    from memq.answers import Receipt
    from memq.encode.column_names import ColumnNames
    from memq.producer import Producer
    from memq_cli.checkpoint import Checkpoint
    from memq_cli.creation import Dimensions
    from memq_cli.sources import Source
    from memq_schemas import Distance
    from memq_schemas.points import Mode
    from memq_schemas.topology import Lane


class Upload:
    """One run of `memq upsert`.   distance: of the collection, if it is to be made when it is missing."""

    def __init__(
        self,
        source: Source,
        collection: str,
        checkpoint: Checkpoint | None,
        columns: ColumnNames,
        *,
        distance: Distance | None,
        lane: Lane,
        mode: Mode,
        vectors_only: bool = False,
        wait: bool,
        json: bool,
    ) -> None:
        self._source = source
        self._collection = collection
        self._checkpoint = checkpoint
        self._columns = columns
        self._distance = distance
        self._lane: Lane = lane
        self._mode: Mode = mode
        self._vectors_only = vectors_only
        self._wait = wait
        self._json = json
        self._progress: UploadProgress | None = None

    async def send(self, producer: Producer) -> None:
        """Raises BadFile, and what `Producer.upsert` does."""
        start, points = await self._begin(producer)
        note = self._checkpoint.note if self._checkpoint else _nowhere
        with UploadProgress(self._source, start, self._wait, note) as progress:
            self._progress = progress
            try:
                with self._placing(start):
                    receipt = await self._written(producer, points, progress)
            except BadFile:
                # Nothing goes on from here before the file has been changed.
                self._remove()
                raise
            except BaseException:
                if self._checkpoint:
                    self._checkpoint.write()
                raise
        self._remove()
        if producer.bulk_refused:
            notice(f"memq: no bulk lane, sent through the live lane ({producer.bulk_refused}): restart the workers")
        self._report(progress, receipt)

    async def _written(self, producer: Producer, points: Any, progress: UploadProgress) -> Receipt:
        lane, wait = self._lane, self._wait
        if self._vectors_only:
            return await producer.update_vectors(self._collection, points, lane=lane, wait=wait, progress=progress)
        return await producer.upsert(self._collection, points, mode=self._mode, lane=lane, wait=wait, progress=progress)

    async def _begin(self, producer: Producer) -> tuple[int, Any]:
        """Count the skipped points and return the rest."""
        start = self._checkpoint.rows if self._checkpoint else 0
        dimensions: Dimensions = {}
        points: Any = self._source.points()
        if self._distance is not None:
            with self._placing(0):
                dimensions, points = await measured(points)
        if start or self._distance is None:
            points = self._source.points(start)
        points = self._checked(points, start)
        if self._distance is not None:
            created = await create(producer, self._collection, self._distance, dimensions)
            if created and start:
                notice(f"memq: the collection {self._collection} was missing, sending all points again")
                self._remove()
                start, points = 0, self._checked(self._source.points(), 0)
        if start:
            notice(f"memq: resuming after the first {start:,} points of an interrupted run")
        return start, points

    def _checked(self, points: Any, start: int) -> Any:
        """The points, of which the first are read: a small file with a bad row is not sent at all."""
        if isinstance(points, AsyncIterator):
            # Standard input is sent as it comes.
            return cast("Any", points)
        with self._placing(start):
            return checked(points) if isinstance(points, WirePoints) else encoded(points, MIB)

    def _remove(self) -> None:
        if self._checkpoint:
            self._checkpoint.remove()

    def left(self) -> str:
        """Report the delivered points and the command to resume after a failure."""
        if self._progress is None:
            return "nothing was sent"
        receipt = self._progress.receipt
        how = "applied" if self._wait else "confirmed by the broker"
        summary = (
            f"before that {receipt.points:,} points in {receipt.messages:,} messages were {how}"
            if receipt.points
            else f"no point was {how} before that"
        )
        if self._checkpoint is not None and self._checkpoint.sent_before:
            done = f"{self._checkpoint.sent_before:,}"
            return f"{summary}; the same command continues after the first {done}, --restart sends all of them again"
        return (
            f"{summary}; sending it all again is harmless, the same ids are written over" if receipt.points else summary
        )

    @contextmanager
    def _placing(self, start: int) -> Generator[None]:
        try:
            yield
        except InvalidPoint as error:
            place = self._source.place(start + error.index)
            field = f"{error.field}: " if error.field else ""
            option = hint(error.field, self._columns, error.reason)
            raise BadFile(f"{place}: {field}{error.reason}{option}") from None

    def _report(self, progress: UploadProgress, receipt: Receipt) -> None:
        points = receipt.points or 0
        rate = points / max(progress.seconds, 1e-9)
        if self._json:
            emit(
                {
                    "points": points,
                    "messages": receipt.messages,
                    "seconds": progress.seconds,
                    "points_per_second": rate,
                    "applied": self._wait,
                    "sent_before": progress.start,
                }
            )
            return
        how = "applied" if self._wait else "confirmed"
        seconds = f"{progress.seconds:.2f} s, {rate:,.0f} points per second"
        say(f"{points:,} points {how} in {receipt.messages:,} messages, {seconds}")


def _nowhere(_: int) -> None:
    pass
