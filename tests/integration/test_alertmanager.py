"""One cause, one page: prometheus/alertmanager.yml in a real Alertmanager that notifies a real receiver."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from stack.machine import Machine
from stack.ports import free_ports
from stack.process import Process
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGURATION = Path(__file__).parents[2] / "prometheus" / "alertmanager.yml"
PROGRAMS = ("prometheus-alertmanager", "alertmanager")
SECONDS = 60.0
ALERTS = {
    rule["alert"]: rule["labels"]["severity"]
    for group in yaml.safe_load((CONFIGURATION.parent / "alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
}


class Receiver(ThreadingHTTPServer):
    """Collects notifications as (receiver, names of the alerts)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.notified: Queue[tuple[str, set[str]]] = Queue()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, Receiver)
        self.server.notified.put((body["receiver"], {alert["labels"]["alertname"] for alert in body["alerts"]}))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


def configured(receiver: Receiver) -> str:
    """The shipped file with a webhook in every receiver, and without waits."""
    document = yaml.safe_load(CONFIGURATION.read_text("utf-8"))
    url = f"http://127.0.0.1:{receiver.server_address[1]}/"
    for each in document["receivers"]:
        each["webhook_configs"] = [{"url": url, "send_resolved": False}]
    for route in (document["route"], *document["route"]["routes"]):
        route |= {"group_wait": "1s", "group_interval": "1s"}
    return yaml.safe_dump(document)


@contextmanager
def alertmanager(home: Path, receiver: Receiver) -> Iterator[str]:
    program = next((found for name in PROGRAMS if (found := Machine().which(name))), None)
    if program is None:
        pytest.skip("no Alertmanager on this machine (apt-get install prometheus-alertmanager)")
    (home / "alertmanager.yml").write_text(configured(receiver), "utf-8")
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    process = Process(
        [
            str(program),
            f"--config.file={home / 'alertmanager.yml'}",
            f"--storage.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ],
        log=home / "alertmanager.log",
    )
    try:
        yield url
    finally:
        process.stop(5.0)


def fire(url: str, *alerts: dict[str, str]) -> None:
    ends = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    body = [{"labels": {"severity": ALERTS[alert["alertname"]], **alert}, "endsAt": ends} for alert in alerts]
    request = urllib.request.Request(
        f"{url}/api/v2/alerts", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 200


def active(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/api/v2/alerts?inhibited=false", timeout=10) as response:
        return json.load(response)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


OUTAGE = [
    {"alertname": "QdrantDown", "job": "memq"},
    {"alertname": "MemqStoreHeld", "job": "memq", "worker": "0"},
    {"alertname": "MemqStoreHeld", "job": "memq", "worker": "1"},
    {"alertname": "HighErrorRate", "job": "memq"},
    {"alertname": "MemqErrorBudgetBurnFast", "job": "memq"},
    {"alertname": "MemqQueueDelay", "job": "memq", "queue": "write"},
]
BROKER = [
    {"alertname": "ServiceDown", "job": "rabbitmq", "instance": "r:15692"},
    {"alertname": "ServiceDown", "job": "rabbitmq-detailed", "instance": "r:15692"},
    {"alertname": "MemqWorkerNotReady", "job": "memq", "worker": "0"},
    {"alertname": "MemqQueueNoConsumers", "queue": "write"},
]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("alerts", "paged"),
    [(OUTAGE, {"QdrantDown"}), (BROKER, {"ServiceDown"})],
    ids=["store outage", "broker outage"],
)
async def test_an_incident_is_one_page_that_names_its_cause(
    tmp_path: Path, alerts: list[dict[str, str]], paged: set[str]
) -> None:
    with receiving() as receiver, alertmanager(tmp_path, receiver) as url:
        await until(lambda: _true(answers(url)), within=SECONDS)
        fire(url, *alerts, {"alertname": "MemqDeadLettersWaiting", "queue": "dead"})
        notified: dict[str, set[str]] = {}
        while notified.keys() < {"page", "none"}:
            name, names = receiver.notified.get(timeout=SECONDS)
            notified[name] = notified.get(name, set()) | names
        assert notified == {"page": paged, "none": {"MemqDeadLettersWaiting"}}
        assert [alert["labels"] for alert in active(url) if alert["labels"]["severity"] != "info"] == [
            {"severity": "critical", **alerts[0]}
        ], "every other alert is suppressed"


@pytest.mark.integration
async def test_a_sender_s_errors_page_nobody(tmp_path: Path) -> None:
    with receiving() as receiver, alertmanager(tmp_path, receiver) as url:
        await until(lambda: _true(answers(url)), within=SECONDS)
        fire(url, {"alertname": "MemqSenderErrors", "job": "memq"}, {"alertname": "Watchdog"})
        notified = [receiver.notified.get(timeout=SECONDS) for _ in range(2)]
        assert sorted(name for name, _ in notified) == ["ticket", "watchdog"]


async def _true(value: bool) -> bool:
    return value


def test_every_alert_that_a_rule_names_exists() -> None:
    document = yaml.safe_load(CONFIGURATION.read_text("utf-8"))
    matchers = [
        matcher
        for rule in document["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
        if matcher.startswith("alertname")
    ]
    for matcher in matchers:
        for name in matcher.partition("~" if "~" in matcher else "=")[2].strip(' "').split("|"):
            assert any(alert.startswith(name.removesuffix(".*")) for alert in ALERTS), name


def test_the_file_is_valid() -> None:
    amtool = Machine().which("amtool")
    if amtool is None:
        pytest.skip("no amtool on this machine (apt-get install prometheus-alertmanager)")
    done = subprocess.run([amtool, "check-config", CONFIGURATION], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
