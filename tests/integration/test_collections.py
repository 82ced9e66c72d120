"""Creating, changing and describing collections through RabbitMQ, on the embedded engine and on a Qdrant server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import models

from memq import Producer, RemoteError
from memq_schemas import ErrorCode
from tests.support.stores import STORES, worker_on
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from stack.broker import Broker
    from tests.support.broker import Address

pytestmark = pytest.mark.integration

WHOLE: dict[str, Any] = {
    "vectors": {
        "text": {
            "size": 4,
            "distance": "dot",
            "datatype": "float16",
            "on_disk": True,
            "hnsw_config": {"m": 8},
            "quantization_config": {"scalar": {"type": "int8", "quantile": 0.99, "always_ram": True}},
        },
        "colbert": {"size": 2, "distance": "cosine", "multivector_config": {"comparator": "max_sim"}},
    },
    "sparse_vectors": {"words": {"modifier": "idf", "index": {"on_disk": False, "full_scan_threshold": 100}}, "s": {}},
    "hnsw_config": {"m": 24, "ef_construct": 64, "on_disk": False, "payload_m": 4},
    "quantization_config": {"binary": {"encoding": "two_bits", "query_encoding": "scalar8bits", "always_ram": True}},
    "optimizers_config": {"deleted_threshold": 0.3, "indexing_threshold": 500, "max_optimization_threads": "auto"},
    "wal_config": {"wal_capacity_mb": 16},
    "on_disk_payload": False,
    "shard_number": 1,
    "replication_factor": 1,
    "write_consistency_factor": 1,
    "metadata": {"model": "m-1", "made": {"by": ["us", 1, 2.5, None]}},
}


@pytest.fixture(scope="module", params=STORES)
def worker(
    request: pytest.FixtureRequest, broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Address]:
    with worker_on(request.param, broker, tmp_path_factory.mktemp("data")) as address:
        yield address


@pytest.fixture
async def producer(worker: Address) -> AsyncIterator[Producer]:
    async with Producer(worker.url, prefix=worker.prefix) as producer:
        yield producer
        for name in (await producer.collections.list()).names:
            await producer.collections.delete(name)


async def described(producer: Producer, name: str = "docs") -> dict[str, Any]:
    answer = await producer.collections.describe(name)
    return answer.collection.model_dump(mode="json", exclude_none=True)


def holds(wanted: Any, found: Any) -> bool:
    """Return True if `found` has every field that `wanted` has, with the same value."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(holds(value, found.get(name)) for name, value in wanted.items())
    return wanted == found


async def test_a_collection_has_every_option_that_it_was_created_with(producer: Producer) -> None:
    await producer.collections.create("docs", **WHOLE)
    found = await described(producer)
    for option, value in WHOLE.items():
        assert holds(value, found[option]), (option, found[option])
    assert (found["points"], found["status"], found["aliases"]) == (0, "green", [])


@pytest.mark.parametrize(
    ("option", "other"),
    [
        ("vectors", {"text": WHOLE["vectors"]["text"]}),
        ("vectors", {**WHOLE["vectors"], "colbert": {"size": 2, "distance": "cosine"}}),
        ("vectors", {**WHOLE["vectors"], "text": {**WHOLE["vectors"]["text"], "datatype": "float32"}}),
        ("vectors", {**WHOLE["vectors"], "text": {**WHOLE["vectors"]["text"], "hnsw_config": {"m": 9}}}),
        ("sparse_vectors", {"words": {"modifier": "idf"}}),
        ("sparse_vectors", {"words": {}, "s": {}}),
        ("hnsw_config", {"m": 25}),
        ("quantization_config", {"scalar": {"type": "int8"}}),
        ("on_disk_payload", True),
        ("metadata", {"model": "m-2"}),
    ],
)
async def test_exist_ok_compares_every_option(producer: Producer, option: str, other: Any) -> None:
    await producer.collections.create("docs", **WHOLE)
    assert not (await producer.collections.create("docs", **WHOLE, exist_ok=True)).created
    with pytest.raises(RemoteError) as refused:
        await producer.collections.create("docs", **{**WHOLE, option: other}, exist_ok=True)
    assert refused.value.code == ErrorCode.COLLECTION_EXISTS
    assert refused.value.message.startswith(option)


async def test_options_left_out_are_not_compared(producer: Producer) -> None:
    await producer.collections.create("docs", 2, hnsw_config={"m": 24})
    assert not (await producer.collections.create("docs", 2, exist_ok=True)).created
    assert not (await producer.collections.create("docs", vectors={"": {"size": 2}}, exist_ok=True)).created


async def test_update_changes_what_it_names_alone(producer: Producer) -> None:
    await producer.collections.create("docs", 2, hnsw_config={"m": 24}, metadata={"a": 1, "b": 2})
    before = await described(producer)
    assert (
        await producer.collections.update(
            "docs",
            vectors={"": {"on_disk": True, "hnsw_config": {"m": 8}}},
            optimizers_config={"indexing_threshold": 700},
            quantization_config={"scalar": {"type": "int8"}},
            metadata={"a": None, "c": {"d": []}},
        )
    ).updated
    found = await described(producer)
    assert found["vectors"][""]["on_disk"] is True
    assert found["vectors"][""]["hnsw_config"] == {"m": 8}
    assert found["optimizers_config"] == {**before["optimizers_config"], "indexing_threshold": 700}
    assert found["hnsw_config"] == before["hnsw_config"]
    assert found["quantization_config"] == {"scalar": {"type": "int8"}}
    assert found["metadata"] == {"b": 2, "c": {"d": []}}
    await producer.collections.update("docs", quantization_config="disabled")
    assert "quantization_config" not in await described(producer)


async def test_describe_shows_the_progress_of_indexes(producer: Producer) -> None:
    await producer.collections.create("docs", 2)
    await producer.upsert("docs", [(n, [1.0, n], {"lang": "en"} if n % 2 else {}) for n in range(10)], wait=True)
    await producer.indexes.create("docs", "lang", "keyword", is_tenant=True)
    await producer.aliases.create("current", "docs")
    await producer.indexes.create("docs", "text", "text", tokenizer="word", stopwords={"languages": ["english"]})

    async def both() -> bool:
        return len((await described(producer))["indexes"]) == len(("lang", "text"))

    await until(both)
    found = await described(producer)
    assert found["indexes"]["lang"]["type"] == "keyword"
    assert found["indexes"]["lang"]["options"]["is_tenant"] is True
    assert found["indexes"]["text"]["options"]["stopwords"]["languages"] == ["english"]
    assert found["aliases"] == ["current"]
    assert found["points"] == 10


async def test_models_of_qdrant_client_create_a_collection(producer: Producer) -> None:
    await producer.collections.create(
        "docs",
        vectors={
            "text": models.VectorParams(size=3, distance=models.Distance.EUCLID, datatype=models.Datatype.UINT8),
        },
        sparse_vectors={"words": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        quantization_config=models.ProductQuantization(
            product=models.ProductQuantizationConfig(compression=models.CompressionRatio.X4)
        ),
        hnsw_config=models.HnswConfigDiff(m=8),
        optimizers_config=models.OptimizersConfigDiff(
            max_optimization_threads=models.MaxOptimizationThreadsSetting.AUTO
        ),
    )
    found = await described(producer)
    assert found["vectors"] == {"text": {"size": 3, "distance": "euclid", "datatype": "uint8"}}
    assert found["sparse_vectors"]["words"]["modifier"] == "idf"
    assert found["quantization_config"] == {"product": {"compression": "x4"}}
    await producer.collections.create("one", vectors=models.VectorParams(size=3, distance=models.Distance.DOT))
    assert (await described(producer, "one"))["vectors"] == {"": {"size": 3, "distance": "dot"}}
    await producer.collections.update("docs", quantization_config=models.Disabled.DISABLED)
    assert "quantization_config" not in await described(producer)
