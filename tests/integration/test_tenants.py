"""Tenants on a real broker: from the file to answers, and what changes while a worker runs."""

from __future__ import annotations

import asyncio
import itertools
import re
import subprocess
import urllib.error
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING

import aio_pika
import pytest

from memq import ConfigurationError, MemqError, Producer, RemoteError, Unroutable
from memq_schemas import Names
from memq_schemas.tenants import TenantNames
from memq_worker.settings import Settings
from memq_worker.tenants.broker import Broker
from memq_worker.tenants.file import read
from memq_worker.tenants.management import Management
from memq_worker.tenants.plan import Planner
from tests.support.broker import consumers, depth
from tests.support.command import Memq
from tests.support.tenants import Tenants, tenants_of
from tests.support.until import until
from tests.support.worker import COMMAND, free_port, running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from memq.changes import Row
    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = [pytest.mark.integration, pytest.mark.broker_semantics]

ROWS: list[Row] = [{"id": 1, "vector": [1.0, 0.0], "payload": {"of": "acme"}}]


@pytest.fixture
def tenants(amqp: Address, engine: EmbeddedEngine, tmp_path: Path) -> Iterator[Tenants]:
    if amqp.management_url is None:
        pytest.skip("needs the management API")
    with tenants_of(amqp, tmp_path, engine.url) as made:
        yield made


@pytest.fixture
def memq(amqp: Address) -> Memq:
    """The command as the operator."""
    return Memq(amqp)


async def test_a_tenant_writes_and_reads_what_is_its_own(tenants: Tenants, transport: str) -> None:
    tenants.write("acme", "beta", tables={"acme": 'lane = "own"'})
    tenants.ok("apply")
    with running_worker(tenants.amqp, **tenants.settings, transport=transport):
        async with (
            Producer(tenants.url("acme"), tenant="acme") as acme,
            Producer(tenants.url("beta"), tenant="beta") as beta,
            Producer(tenants.amqp.url) as operator,
        ):
            await acme.collections.create("notes", size=2)
            await acme.upsert("notes", ROWS, wait=True)
            await acme.upsert("notes", [{"id": 2, "vector": [0.0, 1.0]}], lane="bulk", wait=True)
            assert [point.id for point in (await acme.query("notes", [1.0, 0.0])).points] == [1, 2]
            assert (await beta.collections.list()).names == []
            with pytest.raises(RemoteError, match="unknown_collection"):
                await beta.count("notes")
            with pytest.raises(RemoteError, match="unknown_collection"):
                await beta.count("acme.notes")
            assert (await acme.collections.list()).names == ["notes"]
            assert (await operator.collections.list()).names == ["acme.notes"]
            assert (await operator.count("acme.notes", exact=True)).count == 2
        async with Producer(tenants.url("acme", "read"), tenant="acme") as reader:
            assert (await reader.count("notes", exact=True)).count == 2
            with pytest.raises(Unroutable, match="may only read"):
                await reader.upsert("notes", ROWS)


async def test_a_user_of_one_tenant_is_refused_as_another(tenants: Tenants) -> None:
    tenants.write("acme", "beta")
    tenants.ok("apply")
    with pytest.raises(ConfigurationError, match="expected a user of tenant 'beta'"):
        async with Producer(tenants.url("acme"), tenant="beta"):
            pass


def test_apply_repeats_nothing_and_plan_changes_nothing(tenants: Tenants) -> None:
    tenants.write("acme", tables={"acme": 'lane = "own"'})
    assert "create topic exchange" in tenants.ok("plan")
    assert "no changes" not in tenants.ok("plan")
    tenants.ok("apply")
    assert tenants.ok("plan").splitlines() == ["no changes"]
    assert tenants.ok("apply").splitlines() == ["0 changes made"]
    assert "acme" in tenants.ok("list")
    assert "applied" in tenants.ok("show", "acme")


async def test_a_broken_file_leaves_the_former_in_force_until_a_good_one_comes(tenants: Tenants) -> None:
    tenants.write("acme")
    tenants.ok("apply")
    with running_worker(tenants.amqp, **tenants.settings) as worker:
        async with Producer(tenants.url("acme"), tenant="acme") as acme:
            await acme.collections.create("notes", size=2)
            tenants.write("acme", "gamma")
            whole = tenants.path.read_text()
            tenants.path.write_text(whole[: len(whole) // 2])
            refused = await asyncio.to_thread(worker.until, "tenants file refused, former one kept")
            assert refused["level"] == "ERROR"
            await acme.upsert("notes", ROWS, wait=True)
            tenants.path.write_text(whole)
            await asyncio.to_thread(worker.until, "tenants file read", generation=2)
            tenants.ok("apply")
            async with Producer(tenants.url("gamma"), tenant="gamma") as gamma:
                await gamma.collections.create("notes", size=2)
                await gamma.upsert("notes", ROWS, wait=True)


async def test_a_worker_with_an_older_file_takes_no_tenant_s_messages(tenants: Tenants, tmp_path: Path) -> None:
    tenants.write("acme")
    tenants.ok("apply")
    older = tmp_path / "older.toml"
    older.write_text(tenants.path.read_text())
    port = free_port()
    settings = tenants.settings | {"tenants_file": older, "metrics_port": port}
    write = Names(tenants.amqp.prefix).tenants_write
    with running_worker(tenants.amqp, **settings) as worker:
        async with Producer(tenants.url("acme"), tenant="acme") as acme, Producer(tenants.amqp.url) as operator:
            await acme.collections.create("notes", size=2)
            await acme.upsert("notes", ROWS, wait=True)
            tenants.write("acme", "gamma")
            tenants.ok("apply")
            await asyncio.to_thread(worker.until, "tenants' messages paused")
            await until(lambda: not_consumed(tenants, write))
            await acme.upsert("notes", [{"id": 7, "vector": [0.0, 1.0]}])
            assert (await operator.collections.list()).names is not None
            await until(lambda: "generation 2" in unready(port))
            assert await depth(tenants.amqp, write) == 1
            older.write_text(tenants.path.read_text())
            await until(lambda: consumed(tenants, write))
            assert (await acme.get("notes", [7])).points[0].id == 7


async def consumed(tenants: Tenants, queue: str) -> bool:
    return await consumers(tenants.amqp, queue) and await depth(tenants.amqp, queue) == 0


async def not_consumed(tenants: Tenants, queue: str) -> bool:
    return not await consumers(tenants.amqp, queue)


def unready(port: int) -> str:
    """Why the worker is not ready; empty if it is."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


@pytest.mark.slow
def test_an_apply_that_is_killed_is_taken_up_by_the_next_one(tenants: Tenants) -> None:
    tenants.write("acme", "beta", tables={"acme": 'lane = "own"'})
    total = len(tenants.ok("plan").splitlines())
    for steps in (1, 8, 30):
        killed = subprocess.Popen(
            [COMMAND, "tenants", "apply"],
            env=tenants.environ | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert killed.stdout is not None
        for _ in range(steps):
            assert killed.stdout.readline()
        killed.kill()
        killed.wait(30)
        killed.stdout.close()
        left = len(tenants.ok("plan").splitlines())
        assert left < total
        total = left
    tenants.ok("apply")
    assert tenants.ok("plan").splitlines() == ["no changes"]


def test_an_apply_that_ends_after_any_step_is_taken_up_by_the_next_one(tenants: Tenants) -> None:
    tenants.write("acme", "beta", tables={"acme": 'lane = "own"\nlimits.backlog_bytes = 1000'})
    given = {name: tenants.settings[name] for name in ("amqp_url", "prefix", "management_url")}
    settings = Settings(**given)  # pyright: ignore[reportArgumentType]
    file, left = read(tenants.path), [10**6]
    with closing(Management.of(settings)) as api:
        while left[-1]:
            broker = Broker(api, Names(tenants.amqp.prefix))
            steps = Planner(file, tenants.path.parent, broker, "relaxed").plan().steps
            assert len(steps) < left[-1], "a step that was done is done again"
            left.append(len(steps))
            for step in steps[:1]:
                step.act()
    assert len(left) > 60
    assert tenants.ok("plan").splitlines() == ["no changes"]


async def test_while_the_generation_is_unknown_no_tenant_s_messages_are_taken(tenants: Tenants) -> None:
    """Another client holds the message, so that a worker finds the queue empty."""
    names, port = Names(tenants.amqp.prefix), free_port()
    tenants.write("acme")
    tenants.ok("apply")
    async with Producer(tenants.url("acme"), tenant="acme") as acme:
        await acme.upsert("notes", ROWS)
    async with await aio_pika.connect(tenants.amqp.url) as connection:
        queue = await (await connection.channel()).get_queue(names.tenants, ensure=False)
        held = await queue.get()
        with running_worker(tenants.amqp, **tenants.settings, metrics_port=port) as worker:
            paused = await asyncio.to_thread(worker.until, "tenants' messages paused")
            assert repr(names.tenants) in paused["reason"]
            await until(lambda: names.tenants in unready(port))
            assert await depth(tenants.amqp, names.tenants_write) == 1
            await held.nack(requeue=True)
            await until(lambda: consumed(tenants, names.tenants_write))
            await until(lambda: not unready(port))


async def test_dead_letters_are_listed_and_replayed_for_their_tenant(tenants: Tenants, memq: Memq) -> None:
    tenants.write("acme", "beta")
    tenants.ok("apply")
    with running_worker(tenants.amqp, **tenants.settings):
        async with Producer(tenants.url("acme"), tenant="acme") as acme, Producer(tenants.amqp.url) as operator:
            with pytest.raises(RemoteError, match="unknown_collection"):
                await acme.upsert("later", ROWS, wait=True)
            with pytest.raises(RemoteError, match="unknown_collection"):
                await operator.upsert("later", ROWS, wait=True)
            listed = await asyncio.to_thread(memq.json, "dead", "list", "--tenant", "acme")
            assert [letter["tenant"] for letter in listed["letters"]] == ["acme"]
            assert (await asyncio.to_thread(memq.json, "dead", "list", "--tenant", "beta"))["letters"] == []
            assert len((await asyncio.to_thread(memq.json, "dead", "list"))["letters"]) == 2
            await acme.collections.create("later", size=2)
            replayed = await asyncio.to_thread(memq.json, "dead", "replay", "--tenant", "acme")
            assert replayed["done"] == 1

            async def there() -> bool:
                return (await acme.count("later", exact=True)).count == 1

            await until(there)
            (left,) = (await asyncio.to_thread(memq.json, "dead", "list"))["letters"]
            assert left["tenant"] is None


async def test_a_dead_letter_is_shown_and_corrected_for_its_tenant_alone(tenants: Tenants, memq: Memq) -> None:
    tenants.write("acme", "beta")
    tenants.ok("apply")
    with running_worker(tenants.amqp, **tenants.settings):
        for tenant in ("beta", "acme"):  # who chooses the id of another tenant's message comes first
            async with await aio_pika.connect(tenants.url(tenant)) as connection:
                names = TenantNames(tenants.amqp.prefix, tenant)
                exchange = await (await connection.channel()).get_exchange(names.commands, ensure=False)
                body = f'{{"points": [{{"id": 1, "vector": "of {tenant}"}}]}}'.encode()
                await exchange.publish(aio_pika.Message(body, message_id="same"), "upsert.notes")
        await until(lambda: letters(tenants, 2))
    for tenant in ("acme", "beta"):
        shown = await asyncio.to_thread(memq.json, "dead", "show", "same", "--tenant", tenant)
        assert shown["tenant"] == tenant
        assert f"of {tenant}" in str(shown["body"])
    (acme,) = (await asyncio.to_thread(memq.json, "dead", "list", "--tenant", "acme"))["letters"]
    position = acme["position"]
    assert (await asyncio.to_thread(memq.json, "dead", "show", position, "--tenant", "acme"))["tenant"] == "acme"
    assert "of tenant beta" in await asyncio.to_thread(memq.fails, 2, "dead", "show", position, "--tenant", "beta")
    for command in (("list",), ("show", "1"), ("replay",), ("purge", "--yes")):
        await asyncio.to_thread(memq.fails, 2, "dead", *command, "--tenant", "No Such")
    # An editor that leaves the body of another tenant's letter as it is, which is an error.
    memq.environ |= {"EDITOR": "sed -i s/acme/corrected/", "VISUAL": ""}
    await asyncio.to_thread(memq.ok, "dead", "replay", "--id", "same", "--edit", "--tenant", "acme")


async def letters(tenants: Tenants, number: int) -> bool:
    return await depth(tenants.amqp, Names(tenants.amqp.prefix).dead) == number


def test_check_tests_the_tenants_queues_and_exchanges(tenants: Tenants) -> None:
    tenants.write("acme", tables={"acme": 'lane = "own"'})
    state, found = checked(tenants)
    assert state == 1
    assert "memq-worker tenants apply" in found["tenants"]
    tenants.ok("apply")
    state, found = checked(tenants)
    assert (state, found["tenants"].split()[0]) == (0, "1")
    prefix = tenants.amqp.prefix
    for kind, lacking in (("read", f"{prefix}.lane.acme"), ("write", f"{prefix}.r.acme")):
        all_but = f"^(?!{re.escape(lacking)}$).*"
        with tenants.worker_user({"read": ".*", "write": ".*"} | {kind: all_but}) as url:
            state, found = checked(tenants, url)
        assert state == 1
        assert repr(lacking) in found["tenants"]
        assert f"no {kind} permission" in found["tenants"]


async def test_collections_of_a_new_tenants_name_are_given_to_it_by_adopt_alone(tenants: Tenants) -> None:
    with running_worker(tenants.amqp, **tenants.settings | {"tenants_file": ""}):
        async with Producer(tenants.amqp.url) as operator:
            await operator.collections.create("acme.notes", size=2)
            await operator.collections.create("acmeandson.notes", size=2)
            await operator.upsert("acme.notes", ROWS, wait=True)
    tenants.write("acme")
    for command in ("plan", "apply"):
        refused = await asyncio.to_thread(tenants.run, command)
        assert refused.returncode == 2
        assert "acme.notes" in refused.stderr
        assert "acmeandson" not in refused.stderr
        assert "--adopt" in refused.stderr
    await asyncio.to_thread(tenants.ok, "apply", "--adopt")
    assert (await asyncio.to_thread(tenants.ok, "plan")).splitlines() == ["no changes"]
    with running_worker(tenants.amqp, **tenants.settings):
        async with Producer(tenants.url("acme"), tenant="acme") as acme:
            assert (await acme.collections.list()).names == ["notes"]
            assert (await acme.count("notes", exact=True)).count == 1


@pytest.mark.slow
async def test_a_tenant_is_removed_under_load_and_the_receipt_counts_it(tenants: Tenants, memq: Memq) -> None:
    tenants.write("acme", "beta", tables={"acme": 'lane = "own"'})
    tenants.ok("apply")
    with running_worker(tenants.amqp, **tenants.settings, store_timeout_seconds=2) as worker:
        async with Producer(tenants.url("beta"), tenant="beta") as beta, Producer(tenants.amqp.url) as operator:
            await beta.collections.create("notes", size=2)
            await beta.upsert("notes", ROWS, wait=True)
            async with Producer(tenants.url("acme"), tenant="acme", confirm_timeout=5) as acme:
                await acme.collections.create("notes", size=2)
                with pytest.raises(RemoteError):
                    await acme.upsert("absent", ROWS, wait=True)
                load = asyncio.create_task(writes(acme))
                await until(lambda: points(acme))
                assert (await asyncio.to_thread(tenants.run, "remove", "acme", "--yes")).returncode == 2  # in the file
                tenants.write("beta")
                receipt = await asyncio.to_thread(tenants.ok, "remove", "acme", "--yes")
                with pytest.raises(MemqError):
                    await load
            told = dict(line.split(": ", 1) for line in receipt.splitlines())
            assert told["exchanges"].startswith("4 deleted")
            assert told["users"].startswith("2 deleted")
            assert told["queues"].startswith("2 deleted")
            assert not told["dead letters"].startswith("0 deleted")
            assert not told["points"].startswith("0 deleted")
            assert [name for name in (await operator.collections.list()).names if name.startswith("acme.")] == []
            assert (await beta.count("notes", exact=True)).count == 1
            assert worker.process.poll() is None
        assert tenants.run("show", "acme").returncode == 1
        again = tenants.run("remove", "acme", "--yes")
        assert again.returncode == 0, again.stderr
        tenants.write("acme", "beta")
        assert "may still be in transit" in tenants.run("plan").stderr


def checked(tenants: Tenants, url: str | None = None) -> tuple[int, dict[str, str]]:
    """Run `memq-worker check`. Return its exit code, and what it found, by subject."""
    environ = tenants.environ | ({} if url is None else {"MEMQ_AMQP_URL": url, "MEMQ_DECLARE": "check"})
    done = subprocess.run([COMMAND, "check"], env=environ, capture_output=True, text=True, timeout=60, check=False)
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    return done.returncode, {line[1].rstrip(":"): line[2] for line in lines if len(line) == 3}


async def writes(producer: Producer) -> None:
    for number in itertools.count(1):
        await producer.upsert("notes", [{"id": number, "vector": [1.0, float(number)]}])


async def points(producer: Producer) -> int:
    return (await producer.count("notes", exact=True)).count


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_two_thousand_tenants_are_applied_once_and_served(tenants: Tenants) -> None:
    names = [f"t-{number}" for number in range(2000)]
    tenants.seconds = 1500
    tenants.write(*names, extra="[shared.common]\nsize = 2", tables=dict.fromkeys(names, 'storage = "shared"'))
    tenants.ok("apply")
    assert tenants.ok("plan").splitlines() == ["no changes"]
    with running_worker(tenants.amqp, **tenants.settings):
        for name in (names[0], names[999], names[-1]):
            async with Producer(tenants.url(name), prefix=tenants.amqp.prefix, tenant=name, timeout=30) as producer:
                await producer.upsert("common", ROWS, wait=True)
                assert (await producer.count("common", exact=True)).count == 1
