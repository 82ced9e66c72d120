"""The broker and the Prometheus programs of one test run, shared by all its test processes.

The first process that asks starts them. With pytest-xdist the controller owns them and answers its workers over a
socket, so that they end with the run and not with the worker that happened to ask first.
"""

from __future__ import annotations

import secrets
import threading
from contextlib import ExitStack
from multiprocessing.connection import Client, Listener
from typing import TYPE_CHECKING

from stack.broker import Broker, NoBroker, found
from stack.machine import Machine, say
from stack.prometheus import NoPrometheus, Programs
from stack.prometheus import found as prometheus_found

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

Answer = Broker | NoBroker | Programs | NoPrometheus


class Services:
    """Not started by the constructor. `shown` lets messages through pytest's capture."""

    def __init__(self, environ: Mapping[str, str], shown: Callable[[], AbstractContextManager[None]]) -> None:
        self._machine = Machine(environ=environ)
        self._shown = shown
        self._opened = ExitStack()
        self._answers: dict[str, Answer] = {}

    def get(self, name: str) -> Answer:
        """The service `name`, "broker" or "prometheus", or the reason why this machine has none."""
        if name not in self._answers:
            with self._shown():
                self._answers[name] = self._broker() if name == "broker" else self._prometheus()
        return self._answers[name]

    def listen(self) -> tuple[str, bytes]:
        """Answer other processes from now on, in a thread. Returns the address and the key that `ask` takes."""
        key = secrets.token_bytes(16)
        listener = Listener(family="AF_UNIX", backlog=64, authkey=key)
        answering = threading.Thread(target=self._serve, args=(listener,), daemon=True)
        answering.start()
        self._opened.callback(listener.close)
        self._opened.callback(answering.join)
        self._opened.callback(ask, (str(listener.address), key), "")
        return str(listener.address), key

    def close(self) -> None:
        self._opened.close()

    def _serve(self, listener: Listener) -> None:
        while True:
            with listener.accept() as asking:
                name = asking.recv()
                asking.send(self.get(name) if name else None)
            if not name:
                return

    def _broker(self) -> Broker | NoBroker:
        try:
            broker = self._opened.enter_context(found(self._machine))
        except NoBroker as error:
            say(f"memq: {error}")
            return error
        say(f"memq: testing with {broker.how}, RabbitMQ {broker.version or 'of unknown version'}")
        return broker

    def _prometheus(self) -> Programs | NoPrometheus:
        try:
            return prometheus_found(self._machine)
        except NoPrometheus as error:
            return error


def ask(place: tuple[str, bytes], name: str) -> Answer:
    """The service `name` of the process that listens at `place`; "" ends its listening."""
    address, key = place
    with Client(address, family="AF_UNIX", authkey=key) as asked:
        asked.send(name)
        return asked.recv()
