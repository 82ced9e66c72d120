"""The `memq` command."""

import sys

from memq_process import program


def main() -> None:
    """Run the command line and exit. Signals are handled before the command's libraries are imported."""
    program.run("memq", _command)


def _command() -> None:
    import os

    from memq_process.streams import OutputError

    from memq_cli.app import app

    try:
        app(prog_name="memq")
    except OutputError:
        raise
    except Exception as error:  # a defect outside of `run`, which reports in one line as well
        if os.environ.get("MEMQ_DEBUG"):
            raise
        from memq_cli.failures import line

        sys.stderr.write(f"memq: {line(error)}\n")
        sys.exit(1)
