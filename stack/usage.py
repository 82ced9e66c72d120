"""Arguments and help of scripts/demo and scripts/serve.

Standard library only: --help runs before anything is installed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

QUESTIONS = Path(__file__).resolve().parent.parent / "data" / "questions.parquet"

DEMO = """\
Starts RabbitMQ, two worker processes and the embedded engine on free ports of this
machine, publishes 512 memories with real embeddings, asks 32 questions whose answers
are known, and checks that exact search finds them. Everything is stopped and removed
at the end, also after Ctrl-C.
"""
DEMO_ENVIRONMENT = """\
environment:
  MEMQ_AMQP_URL   use this broker instead of starting one; the demo's exchanges and queues
                  get a prefix of their own there and are deleted at the end
  NO_COLOR        no colours

exit codes:
  0 all as promised   1 failed, or wrong answers   2 wrong usage   130, 143 interrupted

scripts/serve runs the same stack empty, and keeps what you put into it.
"""
SERVE = """\
Starts RabbitMQ, two worker processes, the embedded engine and, if it is installed,
Prometheus with memq's rules and alerts, on free ports of this machine. Prints where they
are and commands to try, and runs until Ctrl-C. Collections, queues and what Prometheus
has seen are kept in --data-dir, so that the next start finds them again; ports differ
from start to start, and DIR/env always has the current address: `. .memq/env`.
"""
SERVE_ENVIRONMENT = """\
environment:
  MEMQ_AMQP_URL     use this broker instead of starting one; nothing is deleted from it
  MEMQ_QDRANT_URL   use this Qdrant instead of the embedded engine
  MEMQ_...          every other setting of `memq-worker run --help` that is not a place
  NO_COLOR          no colours

With RabbitMQ in Docker, which is used where no rabbitmq-server is installed, queues last
only as long as the container; collections are kept all the same.

exit codes:
  0 stopped by Ctrl-C or SIGTERM   1 failed   2 wrong usage
"""


def demo() -> argparse.ArgumentParser:
    parser = _parser("scripts/demo", DEMO, DEMO_ENVIRONMENT)
    parser.add_argument(
        "--keep", action="store_true", help="afterwards leave all of it running, with the data, until Ctrl-C"
    )
    parser.add_argument(
        "--questions",
        type=Path,
        default=QUESTIONS,
        metavar="FILE",
        help="ask these instead: columns as in data/questions.parquet, held to the same recall",
    )
    return parser


def serve() -> argparse.ArgumentParser:
    parser = _parser("scripts/serve", SERVE, SERVE_ENVIRONMENT)
    parser.add_argument(
        "--data-dir", type=Path, default=Path(".memq"), metavar="DIR", help="where everything is kept [.memq]"
    )
    return parser


def _parser(name: str, about: str, environment: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        name, description=about, epilog=environment, formatter_class=argparse.RawDescriptionHelpFormatter
    )


if __name__ == "__main__":
    {"demo": demo, "serve": serve}[sys.argv[1]]().parse_args(sys.argv[2:])
