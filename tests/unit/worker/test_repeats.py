from __future__ import annotations

import logging
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from memq_worker.observe.repeats import Repeats

Line = tuple[float, str, str, int]

LINES: st.SearchStrategy[list[Line]] = st.lists(
    st.tuples(
        st.floats(0, 4),
        st.sampled_from(["delivery not applied", "store unavailable, writes held"]),
        st.sampled_from(["", "invalid", "malformed"]),
        st.sampled_from([logging.INFO, logging.WARNING, logging.ERROR]),
    ),
    max_size=120,
)


def record(message: str, code: str, level: int) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "memq_worker.x", "msg": message, "levelno": level, "code": code})


@given(LINES, st.integers(0, 5), st.sampled_from([logging.INFO, logging.WARNING]))
def test_every_line_is_written_or_counted_and_none_is_written_too_often(lines: list[Line], most: int, level: int):
    repeats = Repeats(most, 10.0, level)
    now = 0.0
    logged: Counter[tuple[str, str]] = Counter()
    written: dict[tuple[str, str], list[float]] = {}
    told: Counter[tuple[str, str]] = Counter()

    def tell(summaries: list[logging.LogRecord]) -> None:
        for summary in summaries:
            told[summary.__dict__["repeated"], summary.__dict__.get("code", "")] += summary.__dict__["suppressed"]

    for pause, message, code, severity in lines:
        now += pause
        due = repeats.due(now)
        if due == 0.0:
            tell(repeats.summaries(now))
        assert repeats.due(now) != 0.0, "what is due is done with"
        passed = repeats.passes(record(message, code, severity), now)
        if severity < level or most == 0:
            assert passed, "lines below the level, and all of them without a limit, are written"
            continue
        logged[message, code] += 1
        if passed:
            written.setdefault((message, code), []).append(now)
    tell(repeats.summaries(now, all_of_them=True))
    assert repeats.due(now) is None
    for kind, count in logged.items():
        times = written[kind]
        assert len(times) + told[kind] == count
        for index in range(len(times) - most):
            # Windows begin with a line, so `most` more than a window's lines never fall into less than one window.
            assert times[index + most] > times[index] or most == 0
        for begin in times:
            assert len([t for t in times if begin <= t < begin + 10.0]) <= 2 * most


def test_endless_kinds_do_not_grow_without_end():
    repeats = Repeats(2, 10.0, logging.WARNING)
    passed = [repeats.passes(record(f"text {n}", "", logging.WARNING), 0.0) for n in range(5000)]
    assert sum(passed) == 1000 + 2
    assert sum(s.__dict__["suppressed"] for s in repeats.summaries(10.0)) == 5000 - 1002
