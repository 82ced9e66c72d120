"""Runs memq-worker with faults or defects patched in: `python -m tests.chaos.entry`, told what by the variable CHAOS.

Everything is imported once and each life of a worker is a fork, so that a killed worker is replaced in milliseconds.
SIGTERM stops the workers softly; SIGUSR1 disarms what would kill them, now and in later lives.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from memq_worker import cli, service  # noqa: F401  (imported before the forks, used after them)
from tests.chaos import hooks, mutants

VARIABLE = "CHAOS"


@dataclass(frozen=True, slots=True)
class Orders:
    """points: where lives end, each after a seeded number of passes from `passes`; at most `kills` lives do.

    killer: a point id that kills whoever writes it.   mutant: a defect of every life.
    """

    seed: int = 1
    workers: int = 1
    points: tuple[str, ...] = ()
    passes: tuple[int, int] = (2, 40)
    kills: int = 0
    killer: int | None = None
    mutant: str | None = None
    settings: dict[int, dict[str, str]] = field(default_factory=dict)  # of single workers, beside the shared ones

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Orders:
        fields = json.loads(text)
        fields["settings"] = {int(slot): own for slot, own in fields["settings"].items()}
        return cls(**fields | {"points": tuple(fields["points"]), "passes": tuple(fields["passes"])})


class Nursery:
    """Forks workers, one a slot, and forks again when one dies, until told to stop."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._slots: dict[int, int] = {}  # pid -> slot
        self._lives = 0
        self._deaths = 0
        self._stopping = False
        self._armed = True
        self._exit = 0

    def run(self) -> int:
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGUSR1, self._disarm)
        for slot in range(self._orders.workers):
            self._fork(slot)
        while self._slots:
            pid, status = os.wait()
            slot = self._slots.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            say("life over", slot=slot, pid=pid, code=code)
            if self._stopping:
                # By the signal itself ends who has not begun; memq's pool takes no notice of it either.
                self._exit = self._exit or (0 if code == -signal.SIGTERM else code)
            elif code >= 0:
                # Ended by its own decision, which nothing here asks for.
                self._exit = code or 70
                self._stop()
            else:
                self._deaths += 1
                self._fork(slot)
        return self._exit

    def _fork(self, slot: int) -> None:
        self._lives += 1
        orders = self._orders
        chance = random.Random(f"{orders.seed}-{slot}-{self._lives}")
        point = chance.choice(orders.points) if orders.points else None
        passes = chance.randint(*orders.passes)
        if not self._armed or self._deaths + len(self._slots) >= orders.kills:
            point = None
        pid = os.fork()
        if pid:
            self._slots[pid] = slot
            say("life", slot=slot, pid=pid, point=point, passes=passes)
            if self._stopping:
                os.kill(pid, signal.SIGTERM)
            return
        os._exit(live(orders, slot, point, passes, armed=self._armed))

    def _stop(self, *_: Any) -> None:
        self._stopping = True
        for pid in self._slots:
            os.kill(pid, signal.SIGTERM)

    def _disarm(self, *_: Any) -> None:
        self._armed = False
        for pid in self._slots:
            os.kill(pid, signal.SIGUSR1)


def live(orders: Orders, slot: int, point: str | None, passes: int, *, armed: bool) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    os.environ["MEMQ_WORKER_NAME"] = f"worker-{slot}"
    os.environ.update(orders.settings.get(slot, {}))
    if orders.mutant:
        mutants.MUTANTS[orders.mutant].apply()
    if point is not None:
        trap = hooks.Trap(point, passes)

        def disarm(*_: Any) -> None:
            trap.armed = False

        signal.signal(signal.SIGUSR1, disarm)
    if orders.killer is not None and armed:
        hooks.die_on(orders.killer)
    sys.argv = ["memq-worker", "run"]
    try:
        cli.main()
    except SystemExit as ended:
        code = ended.code
    else:
        code = 0
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 0 if code is None else 1


def say(message: str, **fields: Any) -> None:
    os.write(sys.stderr.fileno(), json.dumps({"message": message, **fields}).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(Nursery(Orders.read(os.environ[VARIABLE])).run())
