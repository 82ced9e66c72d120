import argparse
import asyncio
import logging
import sys
from pathlib import Path

from . import EngineOptions, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="memq_engine", description="Serve a data directory over Qdrant's gRPC API")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--listen", default=EngineOptions.listen, metavar="HOST:PORT")
    parser.add_argument("--min-free-bytes", type=int, default=EngineOptions.min_free_bytes)
    parser.add_argument("--flush-seconds", type=float, default=EngineOptions.flush_seconds)
    parser.add_argument("--optimize-idle-seconds", type=float, default=EngineOptions.optimize_idle_seconds)
    parser.add_argument("--optimize-min-points", type=int, default=EngineOptions.optimize_min_points)
    parser.add_argument("--search-threads", type=int, default=EngineOptions.search_threads)
    parser.add_argument("--parent-pid", type=int)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    return asyncio.run(run(EngineOptions(**vars(parser.parse_args()))))


if __name__ == "__main__":
    sys.exit(main())
