"""Main function of a command."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from memq_process import signals, streams

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_FAILED = 1
_INTERRUPTED = 128 + signal.SIGINT


def run(name: str, program: Callable[[], object]) -> NoReturn:
    """Run the program and exit with its status.

    Status 130 after Ctrl-C. A closed pipe ends the process by SIGPIPE; other errors of standard output are one line on
    standard error and status 1.
    """
    signals.install()
    streams.install()
    try:
        status = _status_of(program)
        sys.stdout.flush()
    except streams.OutputError as error:
        streams.discard()
        if error.closed:
            signals.end(signal.SIGPIPE)
        sys.stderr.write(f"{name}: {error}\n")
        status = _FAILED
    sys.exit(status)


def _status_of(program: Callable[[], object]) -> int | str:
    try:
        program()
    except SystemExit as exit:
        return 0 if exit.code is None else exit.code
    except signals.Terminated as error:
        return error.status
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0
