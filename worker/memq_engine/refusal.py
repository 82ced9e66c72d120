"""A request answered with a gRPC status instead of a result, in the server's own words.

Callers class errors by code and, where Qdrant offers nothing better, by text; so the texts here are Qdrant's.
"""

from typing import Any

import grpc

StatusCode: Any = grpc.StatusCode


class Refused(Exception):
    def __init__(self, code: Any, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


def invalid(details: str) -> Refused:
    return Refused(StatusCode.INVALID_ARGUMENT, details)


def invalid_field(field: str, problem: str) -> Refused:
    return invalid(f"Validation error in body: [{field}: {problem}]")


def not_found(details: str) -> Refused:
    return Refused(StatusCode.NOT_FOUND, f"Not found: {details}")


def unserved(what: str, since: str = "") -> Refused:
    """The refusal of `what`, a field where there is one. `since` is the first version of a server that has it."""
    server = f"Qdrant {since} or later" if since else "a Qdrant server"
    return Refused(
        StatusCode.UNIMPLEMENTED,
        f"{what}: not served by memq's embedded engine; {server} (MEMQ_QDRANT_URL) serves it",
    )


# Engine errors are bare Exception: their text is all there is to tell them apart by.
_BAD_INPUT = (
    "Vector dimension error:",
    "Not existing vector name error:",
    "Validation failed:",
    "No appropriate index",
    "No range index",
)


_NO_NUMBER = (
    "the formula has no finite number for some point: a value that is missing from its payload needs an entry in "
    "`defaults`, and a division needs `by_zero_default`"
)


def from_engine(error: Exception) -> Refused:
    text = str(error)
    if text.startswith("No point with id"):
        return not_found(f"{text} found")
    if text.startswith("Operation cancelled"):
        # All that the engine says of a formula that has no number for a point.
        return invalid(f"Wrong input: {_NO_NUMBER}")
    if text.startswith("invalid JSON path "):
        return invalid(f"Invalid json path: '{text.removeprefix('invalid JSON path ')}'")
    if text.startswith(_BAD_INPUT) or isinstance(error, ValueError | TypeError | OverflowError):
        return invalid(f"Wrong input: {text}")
    return Refused(StatusCode.INTERNAL, f"Service internal error: {text}")
