from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator


class Missing(Exception):
    """This machine cannot run the experiment; says what it lacks."""


@contextmanager
def skipping() -> Generator[None]:
    """Skip the test, with the reason, if the block raises Missing."""
    try:
        yield
    except Missing as missing:
        pytest.skip(str(missing))
