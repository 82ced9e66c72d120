"""The `memq` command."""

from memq_process import program


def main() -> None:
    """Run the command line and exit. Signals are handled before the command's libraries are imported."""
    program.run("memq", _command)


def _command() -> None:
    from memq_cli.app import app

    app(prog_name="memq")
