"""Every form of an index in Qdrant's REST API, on the engine and on a Qdrant server, and its description."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import models

from memq import InvalidRequest, Producer
from tests.support.stores import STORES, worker_on
from tests.support.until import until
from tests.support.wire import caller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from stack.broker import Broker
    from tests.support.broker import Address
    from tests.support.wire import Caller

pytestmark = pytest.mark.integration

WORDS = {"tokenizer": "word"}
SNOWBALL = {"type": "snowball", "language": "english"}
HUGE = 2**63 - 1


def text(**options: Any) -> dict[str, Any]:
    return {"type": "text", **options}


# A body without its key, and the options that describe then tells.
FORMS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    *[
        (
            {"type": kind, "on_disk": True, "enable_hnsw": False},
            {"on_disk": True, "enable_hnsw": False, **(WORDS if kind == "text" else {})},
        )
        for kind in ("keyword", "integer", "float", "geo", "text", "bool", "datetime", "uuid")
    ],
    *[({"type": kind}, {}) for kind in ("keyword", "integer", "float", "geo", "text", "bool", "datetime", "uuid")],
    *[({"type": kind, "is_tenant": True}, {"is_tenant": True}) for kind in ("keyword", "uuid")],
    *[({"type": kind, "is_principal": True}, {"is_principal": True}) for kind in ("integer", "float", "datetime")],
    ({"type": "integer", "lookup": True, "range": False}, {"lookup": True, "range": False}),
    *[(text(tokenizer=each), {"tokenizer": each}) for each in ("prefix", "whitespace", "word", "multilingual")],
    *[
        (text(**{name: value}), {**WORDS, name: value})
        for name in ("lowercase", "ascii_folding", "phrase_matching")
        for value in (True, False)
    ],
    *[
        (text(**{name: value}), {**WORDS, name: value})
        for name in ("min_token_len", "max_token_len")
        for value in (0, 1, 10_001, HUGE)
    ],
    (text(min_token_len=9, max_token_len=3), {**WORDS, "min_token_len": 9, "max_token_len": 3}),
    (text(stopwords="english"), {**WORDS, "stopwords": {"languages": ["english"], "custom": []}}),
    (text(stopwords="en"), {**WORDS, "stopwords": {"languages": ["english"], "custom": []}}),
    (text(stopwords={}), {**WORDS, "stopwords": {"languages": [], "custom": []}}),
    (text(stopwords={"languages": None}), {**WORDS, "stopwords": {"languages": [], "custom": []}}),
    (
        text(stopwords={"languages": ["de", "en", "english"]}),
        {**WORDS, "stopwords": {"languages": ["english", "german"], "custom": []}},
    ),
    (
        text(stopwords={"languages": [], "custom": ["the", "Foo", "the", ""]}),
        {**WORDS, "stopwords": {"languages": [], "custom": ["", "Foo", "the"]}},
    ),
    (text(stopwords=None, stemmer=None, lowercase=None), {}),
    (text(stemmer=SNOWBALL), {**WORDS, "stemmer": "english"}),
    (text(stemmer=SNOWBALL | {"language": "en"}), {**WORDS, "stemmer": "english"}),
    (text(stemmer="english"), {**WORDS, "stemmer": "english"}),
]

# A body without its key, and the field that its error begins with.
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"type": "Keyword"}, "type"),
    ({"type": "string"}, "type"),
    ({"type": 5}, "type"),
    ({}, "type"),
    ({"type": "integer", "lookup": False, "range": False}, "lookup"),
    ({"type": "float", "is_tenant": True}, "is_tenant"),
    ({"type": "keyword", "stopwords": "english"}, "stopwords"),
    *[(text(tokenizer=each), "tokenizer") for each in ("Word", "nope", 5)],
    *[(text(**{name: each}), name) for name in ("min_token_len", "max_token_len") for each in (-1, "3", 1.5, 2**64)],
    *[(text(**{name: each}), name) for name in ("lowercase", "ascii_folding", "phrase_matching") for each in ("on", 1)],
    *[(text(stopwords=each), "stopwords") for each in ("English", "EN", "klingon", "", ["english"], 5, "hy", "ta")],
    (text(stopwords={"languages": ["klingon"]}), "stopwords"),
    (text(stopwords={"languages": "english"}), "stopwords.languages"),
    (text(stopwords={"custom": "a"}), "stopwords.custom"),
    (text(stopwords={"custom": [5]}), "stopwords.custom[0]"),
    (text(stopwords={"x": 1}), "stopwords.x"),
    *[(text(stemmer=each), "stemmer") for each in ("snowball", "klingon", "English", "", ["english"], "ja", "sl")],
    *[(text(stemmer=each), "stemmer.type") for each in ({"language": "english"}, SNOWBALL | {"type": "none"}, {})],
    (text(stemmer={"type": "snowball"}), "stemmer.language"),
    (text(stemmer=SNOWBALL | {"language": "klingon"}), "stemmer"),
    (text(stemmer=SNOWBALL | {"x": 1}), "stemmer.x"),
]


@pytest.fixture(scope="module", params=STORES)
def place(
    request: pytest.FixtureRequest, broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Address]:
    with worker_on(request.param, broker, tmp_path_factory.mktemp(request.param)) as amqp:
        yield amqp


@pytest.fixture
async def producer(place: Address) -> AsyncIterator[Producer]:
    async with Producer(place.url, prefix=place.prefix) as producer:
        await producer.collections.create("docs", 2)
        yield producer
        await producer.collections.delete("docs")


async def indexes(producer: Producer, wanted: int) -> dict[str, Any]:
    """Options of the collection's indexes by key, when there are as many as wanted."""
    found: dict[str, Any] = {}

    async def all_there() -> bool:
        described = (await producer.collections.describe("docs")).collection.indexes
        found.update({key: index.options for key, index in described.items()})
        return len(found) == wanted

    await until(all_there)
    for options in found.values():
        if "stopwords" in options:
            options["stopwords"] = {name: sorted(words) for name, words in options["stopwords"].items()}
    return found


async def test_every_form_is_accepted_and_described(producer: Producer, place: Address) -> None:
    def create(asking: Caller) -> None:
        for number, (form, _) in enumerate(FORMS):
            reply = asking.ask("index.create.docs", {"key": f"k{number}", **form})
            assert reply.get("result") == {"accepted": True}, (form, reply)

    with caller(place.url, place.prefix) as asking:
        await asyncio.to_thread(create, asking)
    described = await indexes(producer, len(FORMS))
    for number, (form, options) in enumerate(FORMS):
        assert described[f"k{number}"] == options, form


@pytest.mark.usefixtures("producer")
def test_the_rest_is_refused_by_field(place: Address) -> None:
    with caller(place.url, place.prefix) as asking:
        for form, field in REFUSED:
            error = asking.ask("index.create.docs", {"key": "k", **form}).get("error")
            assert error is not None, form
            assert error["code"] in ("invalid", "rejected_by_store"), (form, error)
            assert error["message"].removeprefix("body: ").startswith(f"{field}: "), (form, error)


async def test_described_options_make_the_same_index(producer: Producer) -> None:
    given: Any = {"lowercase": True, "stemmer": SNOWBALL, "stopwords": {"languages": ["en"], "custom": ["foo"]}}
    await producer.indexes.create("docs", "first", "text", **given)
    options = (await indexes(producer, 1))["first"]
    await producer.indexes.create("docs", "second", {"type": "text", **options})
    found = await indexes(producer, 2)
    assert found["second"] == found["first"]


async def test_producers_take_models_of_qdrant_client(producer: Producer) -> None:
    schema = models.TextIndexParams(
        type=models.TextIndexType.TEXT,
        tokenizer=models.TokenizerType.PREFIX,
        stopwords=models.Language.GERMAN,
        stemmer=models.SnowballParams(type=models.Snowball.SNOWBALL, language=models.SnowballLanguage.GERMAN),
    )
    await producer.indexes.create("docs", "words", schema)
    await producer.indexes.create("docs", "kind", models.PayloadSchemaType.KEYWORD)
    await producer.indexes.create("docs", "more", "text", stopwords=models.StopwordsSet(custom=["und"]))
    assert await indexes(producer, 3) == {
        "words": {"tokenizer": "prefix", "stemmer": "german", "stopwords": {"languages": ["german"], "custom": []}},
        "kind": {},
        "more": {**WORDS, "stopwords": {"languages": [], "custom": ["und"]}},
    }
    with pytest.raises(InvalidRequest, match="stemmer"):
        await producer.indexes.create("docs", "more", "text", stemmer={"type": "porter", "language": "english"})
