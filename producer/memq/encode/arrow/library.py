from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from memq.errors import InvalidRequest


@cache
def installed() -> bool:
    return find_spec("pyarrow") is not None


def pyarrow(part: str = "") -> Any:
    """pyarrow or one of its modules; it carries no types. Raises InvalidRequest when it is not installed."""
    try:
        return import_module(f"pyarrow{part}")
    except ImportError:
        raise InvalidRequest('Arrow needs pyarrow: pip install "memq[arrow]"') from None
