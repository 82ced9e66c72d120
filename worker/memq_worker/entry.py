"""The `memq-worker` command: names a missing extra before anything that needs it is imported."""

import sys
from importlib.util import find_spec

from memq_process import program

EXIT_CONFIGURATION = 2

# A module of each library that the extra brings and that its commands cannot do without.
_EMBEDDED = ("grpc", "pydantic_settings", "pythonjsonlogger", "qdrant_client", "qdrant_edge")
_WORKER = (
    "google.protobuf",
    "grpc",
    "msgspec",
    "prometheus_client",
    "pyarrow",
    "pydantic_settings",
    "pythonjsonlogger",
    "qdrant_client",
    "zstandard",
)


def main() -> None:
    """Run the command line and exit. Signals are handled before the command's libraries are imported."""
    program.run("memq-worker", _command)


def _command() -> None:
    extra, modules = ("embedded", _EMBEDDED) if sys.argv[1:2] == ["embedded"] else ("worker", _WORKER)
    if missing := [name for name in modules if not found(name)]:
        sys.stderr.write(
            f"memq-worker: the extra '{extra}' is not installed ({', '.join(missing)} missing): "
            f"pip install 'memq[{extra}]'\n"
        )
        sys.exit(EXIT_CONFIGURATION)
    from memq_worker import cli

    cli.main()


def found(module: str) -> bool:
    """Return True if the module can be imported; it is not imported, only its parents are."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
