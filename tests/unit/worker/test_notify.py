"""What systemd hears of a worker: started, alive, and stopping."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.worker import WorkerProcess, free_port

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("metrics", [True, False])
def test_systemd_hears_ready_alive_and_stopping(tmp_path: Path, metrics: bool) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        place = str(tmp_path / "notify")
        systemd.bind(place)
        systemd.settimeout(60)
        settings = {
            "amqp_url": "amqp://127.0.0.1:1/",
            "qdrant_url": "http://127.0.0.1:1",
            "metrics_port": free_port() if metrics else 0,
        }
        worker = WorkerProcess(settings, NOTIFY_SOCKET=place, WATCHDOG_USEC="600000")
        try:
            assert [systemd.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
            worker.process.send_signal(signal.SIGTERM)
            while (heard := systemd.recv(100)) == b"WATCHDOG=1":
                pass
            assert heard == b"STOPPING=1"
            worker.ended()
        finally:
            worker.kill()


def test_a_hung_worker_is_not_called_alive(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        place = str(tmp_path / "notify")
        systemd.bind(place)
        systemd.settimeout(60)
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            # Another process has the port and never answers, so that the worker's own endpoint cannot.
            settings = {
                "amqp_url": "amqp://127.0.0.1:1/",
                "qdrant_url": "http://127.0.0.1:1",
                "metrics_port": nobody.getsockname()[1],
            }
            worker = WorkerProcess(settings, NOTIFY_SOCKET=place, WATCHDOG_USEC="600000")
            try:
                assert systemd.recv(100) == b"STOPPING=1"
                assert worker.ended() != 0
            finally:
                worker.kill()
