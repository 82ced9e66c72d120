"""The installed worker commands, as a person or a service manager runs them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest

from memq import Producer
from memq_worker.settings import INTERNAL, Settings, flag
from tests.support.processes import alive, children
from tests.support.until import until
from tests.support.worker import COMMAND, WorkerProcess, free_port, running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.broker import Address

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]

SECRET = "s3cret-canary"


def command(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {f"MEMQ_{name.upper()}": str(value) for name, value in settings.items()} | {"NO_COLOR": "1"}
    return subprocess.run([COMMAND, *arguments], env=environ, capture_output=True, text=True, timeout=60, check=False)


def fetched(port: int) -> bytes:
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            return page.read()
    except OSError:
        return b""


def test_help_teaches_every_setting() -> None:
    shown = command("run", "--help").stdout
    for name, field in Settings.model_fields.items():
        assert (flag(name) in shown) == (field.description != INTERNAL)
    assert {"run", "check", "declare", "embedded"} <= set(command("--help").stdout.split())


@pytest.mark.parametrize(
    ("arguments", "settings", "says"),
    [
        (["--processes", "0"], {}, "--processes: Input should be greater than or equal to 1"),
        (["--amqp-url", "localhost"], {}, "--amqp-url: scheme: not amqp or amqps"),
        ([], {"amqp_url": f"amqp://u:{SECRET}@:x/"}, "MEMQ_AMQP_URL: host: missing"),
        ([], {"qdrant_url": "http://127.0.0.1:6333"}, "MEMQ_QDRANT_URL: 6333 is Qdrant's REST port"),
        ([], {"declare": "perhaps"}, "MEMQ_DECLARE: Input should be 'always', 'check' or 'never'"),
        ([], {"drain_seconds": "5"}, "store_timeout_seconds < drain_seconds"),
        ([], {"prefix": "a b"}, "MEMQ_PREFIX: "),
        ([], {"metrics_port": "x"}, "MEMQ_METRICS_PORT: "),
        ([], {"embedded_listen": "6334"}, "MEMQ_EMBEDDED_LISTEN: expected host:port"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_be_right(
    arguments: list[str], settings: dict[str, str], says: str
) -> None:
    ended = command("run", *arguments, **settings)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert SECRET not in ended.stderr


def test_check_says_what_is_wrong_and_declare_mends_it(amqp: Address, tmp_path: Path) -> None:
    settings = {"amqp_url": amqp.url, "prefix": amqp.prefix, "data_dir": tmp_path, "declare": "check"}
    before = command("check", **settings)
    assert before.returncode == 1
    assert "FAIL RabbitMQ" in before.stdout
    assert "run memq-worker declare" in before.stdout
    declared = command("declare", **settings)
    assert declared.returncode == 0, declared.stderr
    assert command("declare", **settings).returncode == 0, "declaring again changes nothing"
    after = command("check", **settings)
    assert (after.returncode, after.stdout.count("ok ")) == (0, 5), after.stdout


def test_check_tells_a_closed_port_from_a_wrong_password_and_hides_it(amqp: Address, tmp_path: Path) -> None:
    nobody = command("check", amqp_url=f"amqp://u:{SECRET}@127.0.0.1:{free_port()}/", data_dir=tmp_path)
    assert nobody.returncode == 1
    assert "cannot be reached" in nobody.stdout
    stranger = amqp.url.replace("guest:guest", f"guest:{SECRET}")
    refused = command("check", amqp_url=stranger, data_dir=tmp_path)
    if stranger != amqp.url:
        assert refused.returncode == 1
        assert "refused the user or password" in refused.stdout
    lost = command("check", amqp_url=amqp.url.rsplit("/", 1)[0] + "/nowhere", data_dir=tmp_path)
    assert "virtual host 'nowhere'" in lost.stdout
    for ended in (nobody, refused, lost):
        assert SECRET not in ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr


def test_check_finds_a_qdrant_that_is_not_there(amqp: Address) -> None:
    ended = command("check", amqp_url=amqp.url, qdrant_url=f"http://127.0.0.1:{free_port()}", amqp_timeout_seconds=3)
    assert ended.returncode == 1
    assert "FAIL Qdrant" in ended.stdout
    assert "6334" in ended.stdout


def test_run_ends_with_2_when_it_can_never_work(amqp: Address) -> None:
    stranger = amqp.url.rsplit("/", 1)[0] + "/nowhere"
    ended = command("run", amqp_url=stranger, qdrant_url="http://127.0.0.1:1", metrics_port=0)
    assert ended.returncode == 2
    assert "virtual host" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_taken_metrics_port_is_named(amqp: Address, tmp_path: Path) -> None:
    port = free_port()
    with running_worker(amqp, qdrant_url="http://127.0.0.1:1", metrics_port=port):
        ended = command("run", amqp_url=amqp.url, qdrant_url="http://127.0.0.1:1", metrics_port=port)
    assert ended.returncode == 2
    assert "MEMQ_METRICS_PORT" in ended.stderr


async def test_a_pool_runs_engine_and_workers_restarts_them_and_leaves_nothing(amqp: Address, tmp_path: Path) -> None:
    port = free_port()
    with running_worker(amqp, data_dir=tmp_path / "data", processes=2, metrics_port=port, log_level="info") as pool:
        pool.ready(sessions=1)
        await until(lambda: len(pool.logged("worker ready")) == 2, within=30)
        family = children(pool.process.pid, recursive=True)
        assert len(family) == 3, "an engine and two workers"
        async with Producer(amqp.url, prefix=amqp.prefix) as producer:
            await producer.collections.create("docs", 2)
            for number, victim in enumerate(family, 1):
                os.kill(victim, signal.SIGKILL)
                await asyncio.to_thread(pool.until, "child process exited, restarting", number)
                await producer.upsert("docs", [{"id": number, "vector": [1.0, 0.0]}], wait=True)
            assert (await producer.count("docs")).count == 3
        page = await asyncio.to_thread(fetched, port)
        for number in range(2):
            assert f'memq_worker_restarts_total{{worker="{number}"}} 1.0'.encode() in page
        family = children(pool.process.pid, recursive=True)
        assert pool.terminate() == 0, pool.text
        assert not [pid for pid in family if alive(pid)]


async def test_children_of_a_killed_pool_stop_by_themselves(amqp: Address, tmp_path: Path) -> None:
    with running_worker(amqp, data_dir=tmp_path / "data", processes=1) as pool:
        family = children(pool.process.pid, recursive=True)
        pool.kill()
        await until(lambda: not any(alive(pid) for pid in family), within=30)


def test_embedded_refuses_a_second_owner(tmp_path: Path) -> None:
    engine = WorkerProcess({"data_dir": tmp_path, "embedded_listen": f"127.0.0.1:{free_port()}"}, "embedded")
    try:
        engine.until("engine ready")
        second = command("embedded", data_dir=tmp_path, embedded_listen=f"127.0.0.1:{free_port()}")
        assert second.returncode != 0
        assert str(engine.process.pid) in second.stderr
        assert "MEMQ_QDRANT_URL" in second.stderr
    finally:
        assert engine.terminate() == 0


def test_every_log_line_is_json_when_it_is_not_a_terminal(amqp: Address, tmp_path: Path) -> None:
    with running_worker(amqp, data_dir=tmp_path / "data") as worker:
        worker.terminate()
        lines = worker.text.splitlines()
        assert lines
        for line in lines:
            assert {"timestamp", "level", "logger", "message"} <= json.loads(line).keys()
