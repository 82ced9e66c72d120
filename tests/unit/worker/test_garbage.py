import gc
import weakref
from collections.abc import Iterator

import pytest

from memq_worker import garbage


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_what_is_there_at_the_start_is_left_alone_and_cycles_that_come_later_are_still_collected() -> None:
    garbage.settle_in()
    assert gc.get_freeze_count() > 1000
    cycle = Cycle()
    cycle.itself = cycle
    gone = weakref.ref(cycle)
    del cycle
    for _ in range(3):
        [Cycle() for _ in range(gc.get_threshold()[0] + 1)]
    assert gone() is None


class Cycle:
    itself: object = None
