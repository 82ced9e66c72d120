"""The child process of optimizer: indexes one shard, and dies with the engine that started it."""

import ctypes
import os
import signal
import sys

import qdrant_edge as edge

_PR_SET_PDEATHSIG = 1


def main(path: str, parent: int) -> int:
    # Without this a killed engine would leave a child that holds the shard's lock for minutes.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return 1
    os.nice(10)
    shard = edge.EdgeShard.load(path)
    shard.optimize()
    shard.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
