from collections.abc import Sequence
from typing import Any

from memq_worker.observe.member import Member

_WORST = {"down": 0, "unknown": 1, "up": 2}


def livez(members: Sequence[Member]) -> tuple[bool, dict[str, Any]]:
    """Report if every event loop runs. A crashed worker does not count: its pool restarts it."""
    workers = [_life(member) for member in members]
    alive = all(worker["state"] != "stuck" for worker in workers)
    return alive, {"status": "alive" if alive else "stuck", "workers": workers}


def _life(member: Member) -> dict[str, Any]:
    age = member.slot.beat_age_seconds
    if member.pid is None:
        state = "down"
    elif member.stuck_seconds is not None:
        state = "stuck"
    else:
        state = "starting" if age is None else "running"
    return {
        "worker": str(member.number),
        "pid": member.pid,
        "state": state,
        "loop_age_seconds": None if age is None else round(age, 3),
        "restarts": member.restarts,
    }


def readyz(members: Sequence[Member]) -> tuple[bool, dict[str, Any]]:
    """Report if any worker is ready; `degraded` if not all are."""
    workers = [_work(member) for member in members]
    ready = [worker["ready"] for worker in workers]
    status = "ready" if all(ready) else "degraded" if any(ready) else "not ready"
    return any(ready), {"status": status, "dependencies": _dependencies(workers), "workers": workers}


def _work(member: Member) -> dict[str, Any]:
    report = member.slot.report or {}
    reasons: list[str] = list(report.get("reasons", []))
    stuck = member.stuck_seconds
    if member.pid is None:
        reasons = ["not running"]
    elif stuck is not None:
        reasons.insert(0, f"its event loop has been stuck for {stuck:.1f} s")
    elif not report:
        reasons = ["starting"]
    fields: dict[str, Any] = {"consuming": False, "held": False, "draining": False, "dependencies": {}}
    return (
        {"worker": str(member.number), "pid": member.pid}
        | fields
        | report
        | {
            "ready": not reasons,
            "reasons": reasons,
        }
    )


def _dependencies(workers: list[dict[str, Any]]) -> dict[str, Any]:
    """Worst status of each dependency over all workers."""
    found: dict[str, Any] = {}
    for worker in workers:
        for name, dependency in worker["dependencies"].items():
            other = found.get(name)
            if other is None or _WORST[dependency["status"]] < _WORST[other["status"]]:
                found[name] = dependency
    return found
