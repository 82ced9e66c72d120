import pytest
from hypothesis import given
from hypothesis import strategies as st

from memq_schemas import Names, Operation, check_collection, parse_routing_key, routing_key
from memq_schemas.routing import MAX_COLLECTION_BYTES, REQUESTS, UNNAMED, WRITES

FORBIDDEN = '/\\:*?"<>|#\x7f'
COLLECTIONS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=FORBIDDEN), min_size=1, max_size=50
).filter(lambda name: name not in (".", ".."))
WITH_COLLECTION = st.sampled_from([op for op in Operation if op not in UNNAMED])


@given(WITH_COLLECTION, COLLECTIONS)
def test_a_routing_key_is_read_back_as_it_was_written(operation: Operation, collection: str):
    key = routing_key(operation, collection)
    assert len(key.encode()) <= 255
    assert parse_routing_key(key) == (operation, collection)


def test_a_list_has_no_collection():
    assert routing_key(Operation.LIST) == routing_key(Operation.LIST, "docs") == "collections.list"
    assert parse_routing_key("collections.list") == (Operation.LIST, None)


WORDS = [*Operation, "collections", "upserts", "", ".", "collections."]


@given(st.text() | st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=4).map(".".join))
def test_any_text_is_an_address_or_a_documented_error(key: str):
    try:
        operation, collection = parse_routing_key(key)
    except (LookupError, ValueError):
        return
    if operation not in UNNAMED:
        assert collection is not None
        assert routing_key(operation, collection) == key


@pytest.mark.parametrize(
    "key", ["", "upserts.docs", "UPSERT.docs", "collections", "collections.", "collections.drop.docs"]
)
def test_an_unknown_operation_is_a_lookup_error_that_lists_them(key: str):
    with pytest.raises(LookupError, match=r"collections\.describe"):
        parse_routing_key(key)


@pytest.mark.parametrize("key", ["upsert", "upsert.", "query.a/b", "collections.create", "collections.create."])
def test_an_unusable_collection_is_a_value_error(key: str):
    with pytest.raises(ValueError, match="a collection name has"):
        parse_routing_key(key)


@pytest.mark.parametrize("name", ["docs", "a.b", "日本", "with space", "-", "x" * MAX_COLLECTION_BYTES])
def test_usable_names(name: str):
    assert check_collection(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", *(f"a{char}b" for char in FORBIDDEN), "a\n", "\x00", "\ud800", "é" * 101, "x" * 201]
)
def test_unusable_names(name: str):
    with pytest.raises(ValueError, match="a collection name has"):
        check_collection(name)


def test_every_operation_is_a_write_or_a_request():
    assert set(Operation) == WRITES | REQUESTS
    assert not WRITES & REQUESTS
    assert [op for op in Operation if op.is_write] == [
        Operation.UPSERT,
        Operation.DELETE,
        Operation.PAYLOAD,
        Operation.VECTORS,
    ]


@pytest.mark.parametrize("prefix", ["memq", "staging"])
def test_own_queues_are_those_that_memq_consumes(prefix: str):
    names = Names(prefix)
    for own in (names.write, names.query, names.suspect, names.dead, names.retry(5)):
        assert names.is_own(own)
    for other in (names.reply("abc"), "amq.gen-1", prefix, f"{prefix}x.write", "other.write"):
        assert not names.is_own(other)
