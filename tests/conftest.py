from __future__ import annotations

import os
import signal
from contextlib import nullcontext
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _pytest.capture import CaptureManager

from stack import ports
from stack.broker import Broker, NoBroker, Server, private
from stack.machine import Machine
from stack.prometheus import Programs
from tests.support.broker import Address, own_address
from tests.support.changes import changed_files, touched
from tests.support.leftovers import leftovers, mark
from tests.support.services import Answer, Services, ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from xdist.workermanage import WorkerController

# Taken before any test has changed it: what selects the broker is the run's, not a test's.
ENVIRONMENT = dict(os.environ)
SERVICES = pytest.StashKey[Services]()
PLACE = pytest.StashKey[tuple[str, bytes]]()
ANSWERS = pytest.StashKey[dict[str, Answer]]()
RUN = pytest.StashKey[str]()
LEFT = pytest.StashKey[list[str]]()
TOUCHED = pytest.StashKey[set[Path]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--changed",
        metavar="BASE",
        help="only the test files that the changes since BASE touch: by import, by command or by file name",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the test files that --changed does not select."""
    if config.option.changed is None or not fnmatch(collection_path.name, "test_*.py"):
        return None
    if TOUCHED not in config.stash:
        config.stash[TOUCHED] = touched(changed_files(config.option.changed))
    return collection_path not in config.stash[TOUCHED] or None


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what it runs in the background with SIGINT ignored, and nohup ignores SIGHUP. Commands that tests
    # interrupt inherit that.
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    config.stash[ANSWERS] = {}
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        ports.choose_among(int(worker.removeprefix("gw")))
        return
    config.stash[RUN] = mark()
    config.stash[SERVICES] = services = Services(ENVIRONMENT, lambda: _shown(config))
    config.add_cleanup(services.close)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that leaves processes behind."""
    config = session.config
    if RUN not in config.stash:
        return
    config.stash[SERVICES].close()
    config.stash[LEFT] = leftovers(config.stash[RUN])
    if config.stash[LEFT] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if config.option.changed is not None and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(LEFT, []):
        terminalreporter.write_line(f"ERROR process left behind: {line}", red=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Tell an xdist worker where the controller answers."""
    if PLACE not in node.config.stash:
        node.config.stash[PLACE] = node.config.stash[SERVICES].listen()
    node.workerinput["services"] = node.config.stash[PLACE]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the broker of the run, if a test asks for one.

    Not in a fixture: installing RabbitMQ may take longer than the time limit of the test that happens to come first.
    """
    config = session.config
    if config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    for name, fixture in {"prometheus": "prometheus_programs", "broker": "broker"}.items():
        if fixture in wanted:
            config.stash[ANSWERS][name] = answer = _service(config, name)
            if isinstance(answer, NoBroker):
                session.shouldstop = str(answer)


def _service(config: pytest.Config, name: str) -> Answer:
    given: dict[str, tuple[str, bytes]] = getattr(config, "workerinput", {})
    return ask(given["services"], name) if given else config.stash[SERVICES].get(name)


def _shown(config: pytest.Config) -> AbstractContextManager[None]:
    capture = config.pluginmanager.getplugin("capturemanager")
    return capture.global_and_fixture_disabled() if isinstance(capture, CaptureManager) else nullcontext()


@pytest.fixture(scope="session")
def prometheus_programs(request: pytest.FixtureRequest) -> Programs:
    """Prometheus and promtool. Without them the test is skipped: they are for looking at memq, not a part of it."""
    found = request.config.stash[ANSWERS]["prometheus"]
    if not isinstance(found, Programs):
        pytest.skip(str(found))
    return found


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Broker:
    found = request.config.stash[ANSWERS]["broker"]
    if not isinstance(found, Broker):
        pytest.fail(str(found), pytrace=False)
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A broker that the tests of one module may kill, stop and start; `broker` is everyone's and is left alone."""
    with private(Machine(environ=ENVIRONMENT)) as (server, _):
        yield server


@pytest.fixture
def amqp(broker: Broker) -> Iterator[Address]:
    """An address that no other test sees: its own virtual host, removed after the test."""
    with own_address(broker) as address:
        yield address


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MEMQ_"):
            monkeypatch.delenv(name)
