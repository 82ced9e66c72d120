import traceback
from collections.abc import Iterator, Sequence
from typing import cast

from memq_worker.errors import WorkerError

_MOST_FRAMES = 30
_MOST_CAUSES = 8


def outline(error: BaseException) -> list[str]:
    """Lines that say where an error came from and of what kind it is, its causes first.

    Without the texts of exceptions: parsers, gRPC and Python itself quote in them what they were given. Ours never do.
    """
    return [line for each in reversed(list(_chain(error))) for line in _one(each)]


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    met: set[int] = set()
    while current is not None and id(current) not in met and len(met) < _MOST_CAUSES:
        met.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _one(error: BaseException) -> Iterator[str]:
    for frame in traceback.extract_tb(error.__traceback__, limit=-_MOST_FRAMES):
        yield f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
    yield _named(error)
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("Sequence[BaseException]", error.exceptions)[:_MOST_CAUSES]:  # pyright: ignore[reportUnknownMemberType]
            yield f"  with {_named(inner)}"


def _named(error: BaseException) -> str:
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    if isinstance(error, WorkerError):
        return f"{kind}: {error.message}"
    if isinstance(error, OSError) and error.errno:
        return f"{kind}: errno {error.errno}"
    return kind
