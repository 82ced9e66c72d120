from __future__ import annotations

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import aio_pika
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memq_schemas import topology
from stack.amqp import management
from stack.ports import free_ports
from tests.support.processes import naming
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from stack.prometheus import Programs
    from tests.support.broker import Address

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
KEPT = "Ctrl-C stops everything."
# Generous: a loaded machine takes a minute for what an idle one does in five seconds.
SECONDS = 180.0


class Run:
    """`python -m stack.<name>`, its output line by line. Everything it starts has `home` in its environment."""

    def __init__(self, home: Path, name: str, arguments: tuple[str, ...], environ: Mapping[str, str]) -> None:
        self.home = home
        self.lines: list[str] = []
        clean = {key: value for key, value in os.environ.items() if not key.startswith("MEMQ_")}
        self.environ = {**clean, "TMPDIR": str(home), **environ}
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"stack.{name}", *arguments],
            cwd=ROOT,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._arriving: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self._arriving.put(line.rstrip("\n"))
        self._arriving.put(None)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def until(self, wanted: str | None) -> None:
        """Reads up to a line that has `wanted` in it, or with None up to the end."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                line = self._arriving.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {wanted!r} in time, but:\n{self.text}") from None
            if line is None:
                assert wanted is None, f"ended without a line with {wanted!r}:\n{self.text}"
                return
            self.lines.append(line)
            if wanted is not None and wanted in line:
                return

    def ended(self, number: signal.Signals | None = None) -> int:
        """The exit code, after signal `number` if there is one."""
        if number is not None:
            self.process.send_signal(number)
        self.until(None)
        return self.process.wait(10)

    def after(self, heading: str) -> list[str]:
        """The indented lines below a heading."""
        start = next(n for n, line in enumerate(self.lines) if line.startswith(heading)) + 1
        end = next((n for n in range(start, len(self.lines)) if not self.lines[n].startswith("  ")), len(self.lines))
        return [line.strip() for line in self.lines[start:end]]

    def shell(self, command: str) -> str:
        """The output of a command as its user would type it."""
        environ = self.environ | {"NO_COLOR": "1"}
        done = subprocess.run(
            ["/bin/sh", "-euc", command],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def processes(self) -> dict[int, str]:
        """What it has started and is still there."""
        found: dict[int, str] = {}
        for pid, process in naming(str(self.home)).items():
            with suppress(psutil.NoSuchProcess):
                found[pid] = " ".join(process.cmdline())
        return found

    def left_nothing(self) -> None:
        assert self.processes() == {}
        assert list(self.home.iterdir()) == []

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        self._reader.join(10)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    home = tmp_path / "home"
    home.mkdir()
    runs: list[Run] = []

    def started(name: str, *arguments: str, **environ: str) -> Run:
        runs.append(Run(home, name, arguments, environ))
        return runs[-1]

    yield started
    for run in runs:
        run.close()


async def declared(url: str, prefix: str) -> list[str]:
    """Queues and exchanges of the prefix that the broker has."""
    layout = topology(prefix)
    async with await aio_pika.connect(url) as connection:
        queues = [each.name for each in layout.queues if await exists(connection, queue=each.name)]
        return queues + [each.name for each in layout.exchanges if await exists(connection, exchange=each.name)]


async def exists(connection: aio_pika.abc.AbstractConnection, queue: str = "", exchange: str = "") -> bool:
    channel = await connection.channel()
    try:
        if queue:
            await channel.declare_queue(queue, passive=True)
        else:
            await channel.declare_exchange(exchange, passive=True)
    except aio_pika.exceptions.ChannelNotFoundEntity:
        return False
    await channel.close()
    return True


def prefix_of(run: Run) -> str:
    found = re.search(r"(memq-demo-[0-9a-f]+)\.\*", run.text)
    assert found, run.text
    return found[1]


def page(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as response:
        return response.read().decode()


async def test_it_shows_what_it_found_and_leaves_nothing(start: Callable[..., Run], amqp: Address) -> None:
    run, beside = (start("demo", MEMQ_AMQP_URL=amqp.url) for _ in range(2))
    assert run.ended() == 0, run.text
    assert beside.ended() == 0, beside.text
    assert prefix_of(run) != prefix_of(beside)
    assert re.search(r"vectors +[\d,]+ per second: all 512 searchable [\d,]+ ms after the first publish", run.text)
    assert re.search(r"latency +p50 [\d.]+ ms, p95 [\d.]+ ms: \d+ asked one at a time", run.text)
    assert "recall   @1 28/32, @3 32/32, @5 32/32: as exact search promises" in run.text
    assert "   1st  Is she still vegan?  [u03]\n        0.805  No longer vegan:" in run.text
    assert len(re.findall(r"^ +(1st|2nd|3rd)  \S.*$", run.text, re.MULTILINE)) == 32
    assert max(map(len, run.lines)) <= 100
    assert "\x1b" not in run.text
    assert "scripts/serve" in "\n".join(run.after("Next"))
    assert await declared(amqp.url, prefix_of(run)) == []
    run.left_nothing()


@pytest.mark.slow
def test_wrong_answers_are_a_failure(start: Callable[..., Run], amqp: Address, tmp_path: Path) -> None:
    table = pq.read_table(ROOT / "data" / "questions.parquet")
    answers = table["answers"].to_pylist()
    wrong = pa.array(answers[1:] + answers[:1], table.schema.field("answers").type)
    file = tmp_path / "wrong.parquet"
    pq.write_table(table.set_column(table.column_names.index("answers"), "answers", wrong), file)

    run = start("demo", "--questions", str(file), MEMQ_AMQP_URL=amqp.url)
    assert run.ended() == 1, run.text
    assert re.search(r"demo: recall is @1 \d+/32, .* has to be @1 28/32, @3 32/32, @5 32/32", run.text), run.text
    run.left_nothing()


def test_a_file_that_is_none_and_a_broker_that_is_none_are_one_line(start: Callable[..., Run], tmp_path: Path) -> None:
    missing = start("demo", "--questions", str(tmp_path / "no.parquet"))
    nobody = start("demo", MEMQ_AMQP_URL=f"amqp://127.0.0.1:{free_ports(1)[0]}/")
    assert missing.ended() == nobody.ended() == 1
    assert re.fullmatch(r"demo: .*no\.parquet.*", missing.text)
    assert "no AMQP broker answers at 127.0.0.1:" in nobody.lines[-1]
    nobody.left_nothing()


@pytest.mark.parametrize(
    ("number", "moment", "code"),
    [
        (signal.SIGTERM, "starting the workers", 143),
        pytest.param(signal.SIGINT, "creating the collection", 130, marks=pytest.mark.slow),
    ],
)
async def test_a_signal_stops_all_of_it(
    start: Callable[..., Run], amqp: Address, number: signal.Signals, moment: str, code: int
) -> None:
    run = start("demo", MEMQ_AMQP_URL=amqp.url)
    run.until(moment)
    assert run.ended(number) == code, run.text
    assert "Traceback" not in run.text
    run.left_nothing()
    if moment == "creating the collection":
        assert await declared(amqp.url, prefix_of(run)) == []


def test_a_signal_while_its_own_broker_boots(start: Callable[..., Run]) -> None:
    run = start("demo")
    run.until("RabbitMQ …")
    # The node is there as soon as its directory is; the signal then meets it booting.
    assert run.ended(signal.SIGTERM) == 143, run.text
    assert "Traceback" not in run.text
    run.left_nothing()


@pytest.mark.slow
async def test_a_dead_pool_is_told_with_its_last_words(start: Callable[..., Run], amqp: Address) -> None:
    run = start("demo", "--keep", MEMQ_AMQP_URL=amqp.url)
    run.until(KEPT)
    pool = next(pid for pid, line in run.processes().items() if "--processes" in line and "guard" not in line)
    os.kill(pool, signal.SIGKILL)
    assert run.ended() == 1, run.text
    assert "demo: the workers ended by themselves\n\nThe last lines of workers.log:\n" in run.text
    assert await declared(amqp.url, prefix_of(run)) == []
    run.left_nothing()


@pytest.mark.slow
def test_keep_says_where_everything_is_until_it_is_stopped(start: Callable[..., Run]) -> None:
    run = start("demo", "--keep")
    run.until(KEPT)
    places = dict(re.split(r" {2,}", line, maxsplit=1) for line in run.after("Running"))
    user, password = places["user, password"].split(", ")
    assert management("GET", f"{places['RabbitMQ management']}/api/overview", user, password)["rabbitmq_version"]
    assert "rabbitmq_queue_messages" in page(places["Metrics of the broker"])
    assert all(f'worker="{number}"' in page(places["Metrics of the workers"]) for number in (0, 1))
    host, port = places["Qdrant gRPC"].split(":")
    socket.create_connection((host, int(port)), timeout=5).close()

    setting, count, query, upsert = run.after("Try")
    assert setting == f"export MEMQ_AMQP_URL={places['AMQP']}"
    assert run.shell(f"{setting}; {count}") == "64\n"
    assert len(run.shell(f"{setting}; {query}").splitlines()) == 3
    assert run.shell(f"{setting}; {upsert}").startswith("512 points applied")

    assert run.ended(signal.SIGTERM) == 0, run.text
    run.left_nothing()


@pytest.mark.slow
async def test_keep_on_somebodys_broker(start: Callable[..., Run], amqp: Address) -> None:
    run = start("demo", "--keep", MEMQ_AMQP_URL=amqp.url)
    run.until(KEPT)
    assert amqp.url not in run.text, "the URL has their password"
    assert await declared(amqp.url, prefix_of(run)) != []
    count, query, upsert = run.after("Try")
    assert run.shell(count) == "64\n"
    assert len(run.shell(query).splitlines()) == 3
    assert run.shell(upsert).startswith("512 points applied")
    assert run.ended(signal.SIGINT) == 0, run.text
    assert await declared(amqp.url, prefix_of(run)) == []
    run.left_nothing()


@pytest.mark.slow
def test_serve_finds_its_data_again(start: Callable[..., Run], tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    first = start("serve", "--data-dir", str(kept))
    first.until(KEPT)
    setting, upsert, count, query = first.after("Try")
    assert (kept / "env").read_text().splitlines()[0] == setting
    # With the PATH of a shell that knows nothing of the environment, as README has it.
    assert '"consumers":2' in first.shell(f"PATH=/usr/bin:/bin; . {kept}/env; memq top --once --json")
    assert (kept / "env").stat().st_mode & 0o077 == 0
    assert first.shell(f". {kept}/env; {upsert}").startswith("512 points applied")
    second = start("serve", "--data-dir", str(kept))
    assert second.ended() == 1
    assert "in use by another run" in second.text
    assert first.ended(signal.SIGTERM) == 0, first.text
    first.left_nothing()

    third = start("serve", "--data-dir", str(kept))
    third.until(KEPT)
    assert third.shell(f". {kept}/env; {count}") == "64\n"
    assert len(third.shell(f". {kept}/env; {query}").splitlines()) == 3
    assert third.ended(signal.SIGINT) == 0, third.text
    third.left_nothing()


@pytest.mark.slow
async def test_serve_brings_up_prometheus_and_says_how_to_look(
    start: Callable[..., Run], tmp_path: Path, prometheus_programs: Programs
) -> None:
    run = start("serve", "--data-dir", str(tmp_path / "kept"))
    run.until(KEPT)
    places = dict(re.split(r" {2,}", line, maxsplit=1) for line in run.after("Running"))
    setting, *_ = run.after("Try")
    top, traffic = run.after("Look")

    def seen(query: str) -> set[str]:
        """The jobs that have a series of it with another value than 0."""
        answer = json.loads(page(f"{places['Prometheus']}/api/v1/query?query={quote(query)}"))
        return {each["metric"].get("job", "") for each in answer["data"]["result"] if float(each["value"][1])}

    await until(lambda: seen("up") == {"memq", "rabbitmq", "rabbitmq-detailed", "prometheus"}, within=SECONDS)
    assert run.shell(f"{setting}; {traffic} --seconds 2 --size 8 --json").startswith("{")
    assert "workers 2 of 2" in run.shell(f"{setting}; {top} --once")
    await until(lambda: seen('sum by (job) (memq_messages_total{outcome="applied"})') == {"memq"}, within=SECONDS)
    rules = json.loads(page(f"{places['Prometheus']}/api/v1/rules"))["data"]["groups"]
    assert {rule["health"] for group in rules for rule in group["rules"]} <= {"ok", "unknown"}
    assert "HighErrorRate" in {rule["name"] for group in rules for rule in group["rules"]}
    for name in ("alerts", "targets"):
        assert name not in places or name in page(places[name]), "an address that is shown is there"
    assert run.ended(signal.SIGTERM) == 0, run.text
    run.left_nothing()


@pytest.mark.parametrize("name", ["demo", "serve"])
def test_help_teaches(start: Callable[..., Run], name: str) -> None:
    run = start(name, "--help")
    assert run.ended() == 0
    assert run.text.startswith(f"usage: scripts/{name}")
    assert "MEMQ_AMQP_URL" in run.text
    assert "exit codes:" in run.text
