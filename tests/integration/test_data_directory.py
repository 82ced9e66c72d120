"""A data directory that is removed or made read-only: an outage that says so, no acks, and no empty store after it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from memq import Producer, ReplyTimeout
from memq_schemas import Names
from tests.support.broker import depth
from tests.support.scrape import says
from tests.support.until import until
from tests.support.worker import COMMAND, WorkerProcess, free_port, running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.broker import Address

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    "everything", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["the directory", "its collections"]
)
async def test_a_removed_data_directory_is_an_outage_and_is_not_silently_made_again(
    everything: bool, amqp: Address, tmp_path: Path
) -> None:
    data, port = tmp_path / "data", free_port()
    given = {"data_dir": data, "store_timeout_seconds": 3, "drain_seconds": 5}
    with running_worker(amqp, metrics_port=port, **given) as worker:
        async with Producer(amqp.url, prefix=amqp.prefix, timeout=20) as producer:
            await producer.collections.create("docs", 2)
            await producer.upsert("docs", [(1, [1.0, 1.0])], wait=True)
            await says(200, port, "/readyz")
            shutil.rmtree(data if everything else data / "shards")
            async with Producer(amqp.url, prefix=amqp.prefix, timeout=6) as hasty:
                with pytest.raises(ReplyTimeout):
                    await hasty.upsert("docs", [(2, [1.0, 1.0])], wait=True)
            await until(lambda: worker.logged("store unavailable, writes held"))
            body = await says(503, port, "/readyz")
            assert "data directory" in str(body)
        worker.terminate()
        await asyncio.to_thread(worker.ended)
    names = Names(amqp.prefix)
    assert (await depth(amqp, names.write), await depth(amqp, names.dead)) == (1, 0), "it waits for the store"
    again = WorkerProcess(worker.settings)
    try:
        assert await asyncio.to_thread(again.ended) == 2, again.text
        assert "Traceback" not in again.text
    finally:
        again.kill()
    assert (await depth(amqp, names.write), await depth(amqp, names.dead)) == (1, 0)


# Without them root writes where it may not, as the test's user does anyhow.
POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()


@contextmanager
def withdrawn(data: Path) -> Iterator[None]:
    """Nobody without special rights may write below `data`."""
    places = [data, *data.rglob("*")]
    modes = [place.stat().st_mode for place in places]
    for place, mode in zip(places, modes, strict=True):
        place.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for place, mode in zip(places, modes, strict=True):
            place.chmod(mode)


@contextmanager
def immutable(data: Path) -> Iterator[None]:
    """Not even root may write below `data`."""
    directories = [str(place) for place in (data, *data.rglob("*")) if place.is_dir()]
    made = subprocess.run(["chattr", "+i", *directories], capture_output=True, text=True, check=False)
    try:
        if made.returncode:
            pytest.skip(f"this file system has no immutable directories: {made.stderr.strip()}")
        yield
    finally:
        subprocess.run(["chattr", "-i", *directories], capture_output=True, check=False)


READ_ONLY = {"permissions": (withdrawn, POWERLESS), "immutable": (immutable, ())}


@pytest.fixture(params=["permissions", pytest.param("immutable", marks=pytest.mark.slow)])
def how(request: pytest.FixtureRequest) -> str:
    tool = {"permissions": POWERLESS[:1], "immutable": ("chattr",)}[request.param]
    if any(shutil.which(each) is None for each in tool):
        pytest.skip(f"{tool[0]} is not installed")
    return request.param


async def test_a_data_directory_made_read_only_is_an_outage_until_it_is_writable_again(
    how: str, amqp: Address, tmp_path: Path
) -> None:
    make_read_only, wrapper = READ_ONLY[how]
    data, port = tmp_path / "data", free_port()
    given = {"data_dir": data, "store_timeout_seconds": 3, "metrics_port": port}
    with running_worker(amqp, program=(*wrapper, COMMAND, "run"), **given) as worker:
        async with Producer(amqp.url, prefix=amqp.prefix, timeout=30) as producer:
            await producer.collections.create("docs", 2)
            await producer.upsert("docs", [(1, [1.0, 1.0])], wait=True)
            with make_read_only(data):
                async with Producer(amqp.url, prefix=amqp.prefix, timeout=6) as hasty:
                    with pytest.raises(ReplyTimeout):
                        await hasty.upsert("docs", [(2, [1.0, 1.0])], wait=True)
                await until(lambda: worker.logged("store unavailable, writes held"))
                body = await says(503, port, "/readyz")
                assert "data directory" in str(body)
                assert (await producer.count("docs")).count == 1, "reading needs no permission to write"
            await producer.upsert("docs", [(3, [1.0, 1.0])], wait=True)
            assert (await producer.count("docs")).count == 3, "the write that waited is applied as well"
        assert worker.terminate() == 0, worker.text


async def test_a_worker_does_not_start_on_a_read_only_data_directory(how: str, amqp: Address, tmp_path: Path) -> None:
    make_read_only, wrapper = READ_ONLY[how]
    data = tmp_path / "data"
    with running_worker(amqp, data_dir=data) as worker:
        assert worker.terminate() == 0
    with make_read_only(data):
        again = WorkerProcess(worker.settings, program=(*wrapper, COMMAND, "run"))
        try:
            assert await asyncio.to_thread(again.ended) == 2, again.text
        finally:
            again.kill()
    assert str(data) in again.text
    assert "Traceback" not in again.text


@pytest.mark.slow
def test_a_worker_does_not_start_on_a_read_only_file_system(amqp: Address, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_worker(amqp, data_dir=data) as worker:
        assert worker.terminate() == 0
    mounting = f"mount --bind {data} {data} && mount -o remount,bind,ro {data}"
    if subprocess.run(["unshare", "--mount", "sh", "-c", mounting], capture_output=True, check=False).returncode:
        pytest.skip("a read-only mount needs a mount namespace, which this machine does not allow")
    program = ("unshare", "--mount", "sh", "-c", f'{mounting} && exec "$0" run', COMMAND)
    again = WorkerProcess(worker.settings, program=program)
    try:
        assert again.ended() == 2, again.text
    finally:
        again.kill()
    assert str(data) in again.text
    assert "Traceback" not in again.text
