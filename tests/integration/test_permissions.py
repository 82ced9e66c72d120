"""A worker whose user or virtual host lacks something says what, in `check` and in `run`."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from memq import Producer, RemoteError
from memq_schemas import Names
from tests.support.broker import take
from tests.support.user import User
from tests.support.worker import COMMAND, running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration


@pytest.fixture
def stranger(amqp: Address, engine: EmbeddedEngine) -> Iterator[User]:
    if amqp.management_url is None:
        pytest.skip("needs the management API, to make users")
    with running_worker(amqp, qdrant_url=engine.url) as worker:
        assert worker.terminate() == 0  # it has declared the topology
    made = User(amqp)
    made.make()
    try:
        yield made
    finally:
        made.remove()


def worker(command: str, stranger: User, amqp: Address, engine: EmbeddedEngine) -> tuple[int, str]:
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MEMQ_")},
        "MEMQ_AMQP_URL": stranger.url,
        "MEMQ_PREFIX": amqp.prefix,
        "MEMQ_QDRANT_URL": engine.url,
        "MEMQ_DECLARE": "check",
        "MEMQ_METRICS_PORT": "0",
    }
    ended = subprocess.run([COMMAND, command], env=environ, capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    "queue", ["write", *(pytest.param(queue, marks=pytest.mark.slow) for queue in ("write.bulk", "query"))]
)
def test_a_missing_read_permission_is_named(queue: str, amqp: Address, engine: EmbeddedEngine, stranger: User) -> None:
    stranger.may(read=f"^(?!{amqp.prefix}[.]{queue}$).*")
    for command, code in (("check", 1), ("run", 2)):
        ended, said = worker(command, stranger, amqp, engine)
        assert ended == code, said
        assert f"queue '{amqp.prefix}.{queue}'" in said
        assert "read permission" in said


@pytest.mark.parametrize(
    "exchange", ["retry.5", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dead", ""))]
)
def test_a_missing_write_permission_is_named_by_check(
    exchange: str, amqp: Address, engine: EmbeddedEngine, stranger: User
) -> None:
    name = f"{amqp.prefix}.{exchange}" if exchange else "amq.default"
    stranger.may(write=f"^(?!{name}$).*")
    ended, said = worker("check", stranger, amqp, engine)
    assert ended == 1, said
    assert f"exchange '{name}'" in said
    assert "write permission" in said


async def test_a_message_whose_copy_is_forbidden_is_rejected_and_its_sender_answered(
    amqp: Address, engine: EmbeddedEngine, stranger: User
) -> None:
    dead = Names(amqp.prefix).dead
    stranger.may(write=f"^(?!{dead}$).*")
    settings = {"amqp_url": stranger.url, "declare": "check", "amqp_timeout_seconds": 1, "qdrant_url": engine.url}
    with running_worker(amqp, **settings) as worker:
        async with Producer(amqp.url, prefix=amqp.prefix) as memq:
            await memq.collections.create("forbidden", 2)
            with pytest.raises(RemoteError) as raised:
                await memq.upsert("forbidden", [{"id": 1, "vector": [1.0, 2.0, 3.0]}], wait=True)
            assert raised.value.code == "wrong_dimension"
            assert await memq.upsert("forbidden", [{"id": 1, "vector": [1.0, 2.0]}], wait=True)
        # The broker itself moved it, unchanged.
        (letter,) = await take(amqp, dead)
        assert letter.headers["x-first-death-reason"] == "rejected"
        assert letter.routing_key == "upsert.forbidden"
        assert "access to exchange" in worker.text


def test_check_of_a_user_with_all_it_needs_leaves_no_message_and_no_consumer(
    amqp: Address, engine: EmbeddedEngine, stranger: User
) -> None:
    stranger.may()
    ended, said = worker("check", stranger, amqp, engine)
    assert ended == 0, said


def test_a_virtual_host_without_room_for_two_connections_is_named(
    amqp: Address, engine: EmbeddedEngine, stranger: User
) -> None:
    stranger.may()
    stranger.limit("max-connections", 1)
    ended, said = worker("check", stranger, amqp, engine)
    assert ended == 1, said
    assert "connection limit (1)" in said
