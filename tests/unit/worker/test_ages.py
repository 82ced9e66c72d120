from __future__ import annotations

import time

import pytest

from memq_worker.observe import ages


def test_a_dead_letter_looked_at_three_times_is_left_alone_and_its_age_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ages, "_PEEK_SECONDS", 0.0)
    seen = ages.Ages({})
    published = time.time() - 100
    for looks in range(4):
        assert seen.wants_head(1)
        seen.peeked()
        seen.head(published, looks)
    assert not seen.wants_head(1)
    assert seen.age("dead", "memq.dead", 1) == pytest.approx(100, abs=5)
    assert seen.age("dead", "memq.dead", 0) == 0
    assert seen.wants_head(1)
