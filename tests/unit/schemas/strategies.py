"""Bodies as other languages would write them: plain JSON values, all of them acceptable."""

from typing import Any

from hypothesis import strategies as st

from memq_schemas.ids import MAX_ID

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
I64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
FLOAT32 = st.floats(allow_nan=False, allow_infinity=False, width=32)
IDS = st.integers(0, MAX_ID) | st.uuids().map(str) | st.uuids().map(lambda value: value.hex)

_COUNTS = st.integers(0, MAX_ID)
_BOUNDS = ("lt", "gt", "gte", "lte")
_DATETIMES = st.datetimes().map(lambda value: value.isoformat() + "Z") | st.dates().map(lambda value: value.isoformat())


def _bounds(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(_BOUNDS), values, min_size=1)


_POINTS = st.fixed_dictionaries({"lon": st.floats(-180, 180), "lat": st.floats(-90, 90)})
_RINGS = st.fixed_dictionaries({"points": st.lists(_POINTS, min_size=4, max_size=6)})
_ANY = st.lists(TEXT, max_size=3) | st.lists(I64, max_size=3)
_TESTS = st.one_of(
    st.fixed_dictionaries({"match": st.fixed_dictionaries({"value": st.booleans() | I64 | TEXT})}),
    st.fixed_dictionaries({"match": st.fixed_dictionaries({"text": TEXT})}),
    st.fixed_dictionaries({"match": st.fixed_dictionaries({"text_any": TEXT})}),
    st.fixed_dictionaries({"match": st.fixed_dictionaries({"phrase": TEXT})}),
    st.fixed_dictionaries({"match": st.fixed_dictionaries({"any": _ANY})}),
    st.fixed_dictionaries({"match": st.fixed_dictionaries({"except": _ANY})}),
    st.fixed_dictionaries({"range": _bounds(FLOATS | I64) | _bounds(_DATETIMES)}),
    st.fixed_dictionaries({"values_count": _bounds(_COUNTS)}),
    st.fixed_dictionaries(
        {"geo_bounding_box": st.fixed_dictionaries({"top_left": _POINTS, "bottom_right": _POINTS})},
    ),
    st.fixed_dictionaries(
        {"geo_radius": st.fixed_dictionaries({"center": _POINTS, "radius": st.floats(1e-3, 1e7)})},
    ),
    st.fixed_dictionaries(
        {
            "geo_polygon": st.fixed_dictionaries(
                {"exterior": _RINGS}, optional={"interiors": st.lists(_RINGS, max_size=2) | st.none()}
            )
        },
    ),
)
FIELD_CONDITIONS = st.builds(lambda key, test: {"key": key, **test}, KEYS, _TESTS)
_LEAVES = st.one_of(
    FIELD_CONDITIONS,
    st.fixed_dictionaries({"is_empty": st.fixed_dictionaries({"key": KEYS})}),
    st.fixed_dictionaries({"is_null": st.fixed_dictionaries({"key": KEYS})}),
    st.fixed_dictionaries({"has_id": st.lists(IDS, max_size=3)}),
    st.fixed_dictionaries({"has_vector": TEXT}),
)


def combine(conditions: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    clause = conditions | st.lists(conditions, max_size=3) | st.none()
    minimum = st.fixed_dictionaries({"conditions": st.lists(conditions, max_size=3), "min_count": st.integers(0, 4)})
    return st.fixed_dictionaries(
        {}, optional={"must": clause, "should": clause, "must_not": clause, "min_should": minimum}
    )


def _nested(filters: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({"nested": st.fixed_dictionaries({"key": KEYS, "filter": filters})})


_CONDITIONS = st.recursive(_LEAVES, lambda inner: combine(inner) | _nested(combine(inner)), max_leaves=8)
FILTERS = combine(_CONDITIONS)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
