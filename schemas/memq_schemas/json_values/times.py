"""Dates and times to text that sorts: `2026-01-02`, `2026-01-02T03:04:05.123456+00:00`, `03:04:05`.

An instant is written in UTC. Fractions of a second have six digits, nine where microseconds do not suffice, or none.
"""

from datetime import UTC, datetime, time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memq_schemas.json_values.problem import InexactValue

Counts = NDArray[np.int64]

PER_SECOND = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}

_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31, in days since 1970
_DAY_SECONDS = 86_400

FAR = "outside the years 1 to 9999, or infinite"
NO_TIME = "not a time of day, 00:00 up to 24:00"


def instant_texts(counts: Counts, unit: str) -> list[str]:
    """RFC 3339 texts in UTC of counts of this unit since 1970. Raises InexactValue with the first row out of range."""
    per = PER_SECOND[unit]
    seconds = counts // per
    _require((seconds >= _FIRST_DAY * _DAY_SECONDS) & (seconds < (_LAST_DAY + 1) * _DAY_SECONDS), FAR)
    fractions = _fractions(counts - seconds * per, per)
    texts: list[str] = np.datetime_as_string(seconds.astype("datetime64[s]")).tolist()
    return [f"{text}{fraction}+00:00" for text, fraction in zip(texts, fractions, strict=True)]


def date_texts(days: Counts) -> list[str]:
    """Texts of days since 1970. Raises InexactValue with the first row out of range."""
    _require((days >= _FIRST_DAY) & (days <= _LAST_DAY), FAR)
    return np.datetime_as_string(days.astype("datetime64[D]")).tolist()


def date64_texts(milliseconds: Counts) -> list[str]:
    """Texts of milliseconds since 1970. Raises InexactValue with the first row out of range, or with a time of day."""
    days = milliseconds // (_DAY_SECONDS * 1000)
    _require(days * (_DAY_SECONDS * 1000) == milliseconds, "a date with a time of day; make it a timestamp")
    return date_texts(days)


def time_texts(counts: Counts, unit: str) -> list[str]:
    """Texts of counts of this unit since midnight. Raises InexactValue with the first row out of range."""
    per = PER_SECOND[unit]
    seconds = counts // per
    _require((seconds >= 0) & (seconds < _DAY_SECONDS), NO_TIME)
    fractions = _fractions(counts - seconds * per, per)
    return [
        f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{fraction}"
        for whole, fraction in zip(seconds.tolist(), fractions, strict=True)
    ]


def duration_text(count: int, unit: str) -> str:
    """ISO 8601 text, in days and seconds."""
    per = PER_SECOND[unit]
    days, rest = divmod(abs(count), _DAY_SECONDS * per)
    seconds, fraction = divmod(rest, per)
    places = f"{fraction:0{len(str(per)) - 1}}".rstrip("0") if fraction else ""
    text = f"{days}D" if days else ""
    if rest or not days:
        text += f"T{seconds}{'.' + places if places else ''}S"
    return f"{'-' if count < 0 else ''}P{text}"


def datetime_text(value: datetime) -> str:
    """RFC 3339 text with the zone that it has; a naive time is read as UTC, as Qdrant does."""
    offset = value.utcoffset()
    if offset is None:
        value = value.replace(tzinfo=UTC)
    elif offset.total_seconds() % 60:
        # RFC 3339 has no seconds in offsets.
        value = utc(value)
    text = value.isoformat()
    # A pandas.Timestamp counts nanoseconds beside.
    nanoseconds = int(getattr(value, "nanosecond", 0))
    if nanoseconds and len(text) < len("2026-01-02T03:04:05.123456789+00:00"):
        return f"{text[:19]}.{value.microsecond * 1000 + nanoseconds:09}{text[-6:]}"
    return text


def utc(value: datetime) -> datetime:
    """The same instant in UTC; a naive time is read as UTC. Raises InexactValue if it leaves the years 1 to 9999."""
    if value.utcoffset() is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InexactValue(FAR) from None


def time_text(value: time) -> str:
    """Raises InexactValue for a time with a zone, which is no time without a date."""
    if value.tzinfo is not None:
        raise InexactValue("a time with a zone but no date; give a datetime, or a time without a zone")
    return value.isoformat()


def datetime64_text(value: Any) -> str | None:
    """Text of numpy's kind: a date for units of days and longer, else an instant; None for NaT."""
    if np.isnat(value):
        return None
    unit, count = np.datetime_data(value.dtype)
    if unit in ("Y", "M", "W", "D"):
        return date_texts(_counts(value, "D"))[0]
    if unit not in PER_SECOND or count != 1:
        fine = unit in ("ps", "fs", "as")
        coarse: Any = value.astype("datetime64[ns]" if fine else "datetime64[s]")
        if fine and coarse != value:
            raise InexactValue("finer than nanoseconds")
        value, unit = coarse, "ns" if fine else "s"
    return instant_texts(_counts(value, unit), unit)[0]


def _counts(value: Any, unit: str) -> Counts:
    return np.array([value.astype(f"datetime64[{unit}]")]).view(np.int64)


def _fractions(rests: Counts, per: int) -> list[str]:
    if not rests.any():
        return [""] * len(rests)
    nanoseconds = (rests * (PER_SECOND["ns"] // per)).tolist()
    return ["" if not count else f".{count:09}" if count % 1000 else f".{count // 1000:06}" for count in nanoseconds]


def _require(good: "NDArray[np.bool_]", reason: str) -> None:
    if not good.all():
        raise InexactValue(reason, row=int(good.argmin()))
