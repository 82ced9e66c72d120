import uuid
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from memq_schemas import PointId, point_id
from memq_schemas.ids import MAX_ID, NAMESPACE, canonical_uuid

POINT_ID: TypeAdapter[int | str] = TypeAdapter(PointId)


@given(st.integers(0, MAX_ID))
def test_every_unsigned_64_bit_integer_is_an_id(value: int):
    assert POINT_ID.validate_python(value, strict=True) == value


@pytest.mark.parametrize("value", [-1, MAX_ID + 1, 1.0, True, None, "", "7", b"7", "not-a-uuid", "0" * 31, "0" * 33])
def test_other_values_are_no_ids(value: object):
    with pytest.raises(ValidationError):
        POINT_ID.validate_python(value, strict=True)


@given(st.uuids())
def test_a_uuid_is_canonical_in_every_spelling_qdrant_takes(value: uuid.UUID):
    for text in (str(value), str(value).upper(), value.hex, value.hex.upper()):
        assert canonical_uuid(text) == str(value)


# uuid.UUID takes all of these: it strips prefixes, braces and dashes anywhere, and reads digits with int().
@pytest.mark.parametrize(
    "text",
    [
        "urn:" + "0" * 32,
        "{" + "0" * 32 + "}}}",
        "0x" + "0" * 30,
        "0-" * 4 + "0" * 28,
        "\N{ARABIC-INDIC DIGIT THREE}" * 32,
        "00000000-0000-0000-0000-00000000000\n",
        "0" * 31 + " ",
        "0" * 32 + "\n",
    ],
)
def test_what_only_python_reads_as_a_uuid_is_refused(text: str):
    with pytest.raises(ValueError, match="has to be a UUID"):
        canonical_uuid(text)


@given(st.text())
def test_any_text_is_a_uuid_or_a_value_error(text: str):
    with suppress(ValueError):
        assert uuid.UUID(canonical_uuid(text)).hex == text.replace("-", "").lower()


# The README prints these; another language's uuid5 has to give the same.
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (("docs", "42"), "3aec9f96-379f-553d-9acb-30de5460498c"),
        (("docs", 42), "3aec9f96-379f-553d-9acb-30de5460498c"),
        (("é",), "88ebfdc5-a1af-58a2-98bb-41552646f4e3"),
    ],
)
def test_point_id_is_fixed_for_ever(key: tuple[object, ...], expected: str):
    assert point_id(*key) == expected


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1f")), min_size=1))
def test_point_id_keeps_parts_apart_and_is_an_id(parts: list[str]):
    derived = point_id(*parts)
    assert derived == str(uuid.uuid5(NAMESPACE, "\x1f".join(parts)))
    assert canonical_uuid(derived) == derived
    assert point_id(*parts, "") != derived


def test_point_id_needs_a_part():
    with pytest.raises(ValueError, match="at least one part"):
        point_id()
