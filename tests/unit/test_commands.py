"""Standard streams, signals and imports of both commands, without a broker."""

from __future__ import annotations

import os
import pkgutil
import signal
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

import memq_schemas

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = [
    ("memq", "--help"),
    ("memq", "--version"),
    ("memq", "upsert", "--help"),
    ("memq", "collections", "create", "--help"),
    ("memq-worker", "--help"),
    ("memq-worker", "--version"),
    ("memq-worker", "store", "adopt", "--help"),
]
SECONDS = 60

# Sends the process a signal in the middle of its imports.
SIGNAL_ON_IMPORT = """
import os, signal, sys
class SignalOnImport:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, SignalOnImport())
sys.argv = ["command", "--version"]
from {module} import main
main()
"""


def path(program: str) -> str:
    return str(Path(sys.executable).with_name(program))


def run(*line: str, stdout: int) -> tuple[int, str]:
    ended = subprocess.run(
        [path(line[0]), *line[1:]], stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("line", COMMANDS, ids=" ".join)
def test_a_closed_pipe_ends_the_command_without_a_word(line: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert run(*line, stdout=writer) == (-signal.SIGPIPE, "")
    finally:
        os.close(writer)


@pytest.mark.parametrize("line", COMMANDS, ids=" ".join)
def test_a_full_disk_is_one_line(line: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        code, text = run(*line, stdout=full.fileno())
    assert (code, text) == (1, f"{line[0]}: standard output: No space left on device\n")


@pytest.mark.parametrize("program", ["memq", "memq-worker"])
def test_a_closed_standard_output_is_one_line(program: str) -> None:
    ended = subprocess.run(
        ["sh", "-c", f"{path(program)} --version >&-"],
        stderr=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1, f"{program}: standard output: Bad file descriptor\n")


@pytest.mark.parametrize("program", ["memq", "memq-worker"])
def test_a_full_standard_error_does_not_change_the_status(program: str) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run([path(program), "nonsense"], stderr=full, timeout=SECONDS, check=False)
    assert ended.returncode == 2


def test_errors_name_a_file_by_its_bytes(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.jsonl"
    line = [os.fsencode(path("memq")), b"upsert", name, b"-c", b"docs"]
    ended = subprocess.run(line, stderr=subprocess.PIPE, timeout=SECONDS, check=False)
    assert (ended.returncode, name in ended.stderr) == (2, True), ended.stderr


def test_a_defect_is_one_line_and_a_traceback_only_on_request() -> None:
    code = (
        "import memq_cli.commands.reads as reads, memq_cli\n"
        "def broken(*_, **__): raise LookupError('lost')\n"
        "reads.Target = broken\n"
        "import sys; sys.argv = ['memq', 'count', 'docs']; memq_cli.main()"
    )

    def broken(**more: str) -> tuple[int, str]:
        environ = {**os.environ, **more}
        ended = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environ, timeout=SECONDS, check=False
        )
        return ended.returncode, ended.stderr

    assert broken() == (1, "memq: a defect in memq: LookupError: lost (MEMQ_DEBUG=1 shows where)\n")
    assert "Traceback" in broken(MEMQ_DEBUG="1")[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("module", ["memq_cli", "memq_worker.entry"])
def test_a_signal_during_imports_ends_the_command(module: str, number: signal.Signals) -> None:
    code = SIGNAL_ON_IMPORT.format(module=module, number=int(number))
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=SECONDS, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-number, b"", b"")


@pytest.mark.parametrize("module", ["memq_cli", "memq_worker.entry"])
def test_a_signal_during_imports_ends_process_one(module: str) -> None:
    """The kernel drops signals with the default action for the first process of a container."""
    namespace = ["unshare", "--user", "--map-root-user", "--pid", "--fork"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine permits no process namespaces")
    line = [*namespace, sys.executable, "-c"]
    dropped = "import os, signal; os.kill(os.getpid(), signal.SIGTERM); os._exit(os.getpid())"
    assert subprocess.run([*line, dropped], timeout=SECONDS, check=False).returncode == 1
    code = SIGNAL_ON_IMPORT.format(module=module, number=int(signal.SIGTERM))
    ended = subprocess.run([*line, code], capture_output=True, timeout=SECONDS, check=False)
    assert (ended.returncode, ended.stdout) == (128 + signal.SIGTERM, b"")


@contextmanager
def silent_broker() -> Iterator[tuple[str, socket.socket]]:
    """Listen on a port and never answer."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(SECONDS)
        yield f"amqp://127.0.0.1:{server.getsockname()[1]}/", server


@pytest.mark.parametrize(
    ("number", "status", "line"),
    [
        (signal.SIGINT, 130, "memq: interrupted\n"),
        (signal.SIGTERM, 143, "memq: terminated\n"),
        (signal.SIGHUP, 129, "memq: terminated\n"),
    ],
)
@pytest.mark.parametrize("command", ["collections list", "traffic", "dead list", "top --once"])
def test_signals_end_a_waiting_command(command: str, number: signal.Signals, status: int, line: str) -> None:
    with silent_broker() as (url, server):
        process = subprocess.Popen(
            [path("memq"), *command.split(), "--url", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        connection, _ = server.accept()
        with connection:
            process.send_signal(number)
            output, text = process.communicate(timeout=SECONDS)
    assert (process.returncode, output, text) == (status, "", line)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_signals_end_a_waiting_check(number: signal.Signals, status: int) -> None:
    with silent_broker() as (url, server):
        process = subprocess.Popen(
            [path("memq-worker"), "check", "--amqp-url", url, "--qdrant-url", "http://127.0.0.1:1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = server.accept()
        with connection:
            process.send_signal(number)
            _, text = process.communicate(timeout=SECONDS)
    assert process.returncode == status
    assert "Traceback" not in text


def test_a_hangup_that_the_caller_ignores_stays_ignored() -> None:
    code = """
import os, signal
from memq_process import program
def live():
    os.kill(os.getpid(), signal.SIGHUP)
    print("alive")
program.run("memq", live)
"""
    for line in (["nohup", sys.executable, "-c", code], [sys.executable, "-c", code]):
        ended = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert (ended.returncode, ended.stdout) == ((0, "alive\n") if line[0] == "nohup" else (-signal.SIGHUP, ""))


def imported(statement: str) -> set[str]:
    """Return the names of the modules that a new process has after the statement."""
    code = f"{statement}\nimport sys; sys.__stderr__.write(' '.join(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=True)
    return {name.partition(".")[0] for name in ended.stderr.split()}


def test_import_memq_loads_no_library() -> None:
    assert imported("import memq") & {"aio_pika", "aiormq", "asyncio", "numpy", "pydantic", "rich", "typer"} == set()


def test_import_memq_schemas_loads_no_models() -> None:
    assert imported("import memq_schemas") & {"numpy", "pydantic"} == set()


def test_every_name_of_the_contract_can_be_imported() -> None:
    modules = {module.name for module in pkgutil.iter_modules(memq_schemas.__path__)}
    for name in memq_schemas.__all__:
        assert not isinstance(getattr(memq_schemas, name), ModuleType), f"{name} is hidden by the module of this name"
    # The first import of a module hides a function of its name that is imported on first use.
    assert modules.intersection(memq_schemas.__all__) == {"topology"}
    assert set(memq_schemas.__all__) <= set(dir(memq_schemas))
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        memq_schemas.Nonsense  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def test_every_public_name_can_be_imported() -> None:
    import memq

    for name in memq.__all__:
        assert getattr(memq, name).__name__ == name or name in {"PointId"}
    assert set(memq.__all__) <= set(dir(memq))
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        memq.Nonsense  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("module", ["memq_cli", "memq_worker.entry"])
def test_a_signal_handler_comes_before_the_libraries(module: str) -> None:
    assert imported(f"import {module}") & {"asyncio", "memq_schemas", "numpy", "pydantic", "rich", "typer"} == set()


def test_the_version_needs_neither_the_contract_nor_numpy() -> None:
    statement = (
        "import atexit, sys; sys.argv = ['memq', '--version']\n"
        "from memq_cli import main\n"
        "try: main()\n"
        "except SystemExit: pass"
    )
    found = imported(statement)
    assert found & {"aio_pika", "asyncio", "memq", "memq_schemas", "numpy", "pydantic", "rich"} == set()
    assert "typer" in found
