"""The checker itself: each rule of the reckoning goes red on a state that breaks it, and on nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.checker import CANARY, Rules, check
from tests.chaos.evidence import DeadLetter, Evidence, Stored
from tests.chaos.ledger import COLLECTION, Ledger, Message, Record, Reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def stored(message: Message, key: int) -> Stored:
    point = message.point(key)
    return Stored(point["payload"], point["vector"])


def dead(message: Message, *, code: str | None = "invalid", by_worker: bool = True) -> DeadLetter:
    return DeadLetter(message.name, code, by_worker, b"", {})


PLAIN = Message("r", "a", 1, (1, 2))
OLD = Message("r", "a", 2, (7,), version=4)
NEW = Message("r", "a", 3, (7,), version=9)
BAD = Message("r", "a", 4, (8,), expected="refused")
GONE = Message("r", "a", 5, (9,), version=1)
DELETE = Message("r", "a", 6, (9,), version=2, operation="delete")
UNSURE = Message("r", "a", 7, (10,))
ALL = (PLAIN, OLD, NEW, BAD, GONE, DELETE, UNSURE)


@dataclass
class Case:
    """A run in which everything went well, for a test to spoil."""

    record: Record = field(
        default_factory=lambda: Record(
            "r",
            attempted={message.name: message for message in ALL},
            confirmed={message.name for message in ALL if message is not UNSURE},
            asked={"q1": {"operation": "get", "key": 1}, "w1": {"operation": "upsert", "points": 2}},
            replies=[
                Reply("q1", 200, None, [{"id": 1, "payload": PLAIN.point(1)["payload"]}]),
                Reply("w1", 200, None, {"upserted": 2}),
            ],
        )
    )
    evidence: Evidence = field(
        default_factory=lambda: Evidence(
            points={1: stored(PLAIN, 1), 2: stored(PLAIN, 2), 7: stored(NEW, 7)},
            collections={COLLECTION},
            dead=[dead(BAD)],
            ready={"memq.write": 0, "memq.dead": 0},
            consumers={"memq.write": 0},
            exits=[0],
        )
    )
    rules: Rules = field(default_factory=lambda: Rules(answers=True))

    @property
    def found(self) -> list[tuple[str, str]]:
        return [(violation.check, violation.kind) for violation in check(self.record, self.evidence, self.rules)]


def test_a_good_run_has_no_violations() -> None:
    assert Case().found == []


def test_what_was_not_confirmed_may_be_there_or_not() -> None:
    case = Case()
    case.evidence.points[10] = stored(UNSURE, 10)
    assert case.found == []


def _spoil_payload(case: Case) -> None:
    case.evidence.points[7] = Stored(NEW.point(7)["payload"], OLD.point(7)["vector"])


SPOILT: dict[tuple[str, str], Callable[[Case], Any]] = {
    ("L1", "lost"): lambda case: case.evidence.points.pop(2),
    ("L1", "condemned"): lambda case: case.evidence.dead.append(dead(PLAIN)),
    ("L1", "unexplained"): lambda case: case.evidence.dead.__setitem__(
        0, dead(BAD, code="delivery_limit", by_worker=False)
    ),
    ("L2", "stale"): lambda case: case.evidence.points.__setitem__(7, stored(OLD, 7)),
    ("L2", "torn"): _spoil_payload,
    ("L2", "repeated"): lambda case: case.evidence.dead.append(dead(BAD)),
    ("L3", "let through"): lambda case: case.evidence.points.__setitem__(99, stored(Message("x", "a", 1, (99,)), 99)),
    ("L3", "strange"): lambda case: case.evidence.strange_queues.add("surprise"),
    ("L3", "leaked"): lambda case: setattr(case.evidence, "log", f"...{CANARY}..."),
    ("L4", "unknown reply"): lambda case: case.record.replies.append(Reply("who", 200, None, None)),
    ("L4", "wrong answer"): lambda case: case.record.replies.__setitem__(1, Reply("w1", 200, None, {"upserted": 1})),
    ("L4", "unanswered"): lambda case: case.record.replies.pop(),
    ("L5", "backlog"): lambda case: case.evidence.ready.__setitem__("memq.write", 1),
    ("L5", "leaked consumer"): lambda case: case.evidence.consumers.__setitem__("memq.write", 1),
    ("L5", "exit code"): lambda case: case.evidence.exits.append(1),
}


@pytest.mark.parametrize("violation", SPOILT, ids=" ".join)
def test_each_rule_goes_red_alone(violation: tuple[str, str]) -> None:
    case = Case()
    SPOILT[violation](case)
    assert case.found == [violation]


def test_a_hold_is_wrong_only_where_single_collections_fail() -> None:
    case = Case()
    case.evidence.log = '{"message": "store unavailable, writes held"}'
    assert case.found == []
    case.rules = Rules(answers=True, never_held=True)
    assert case.found == [("L5", "held")]


def test_a_lost_session_is_wrong_only_where_no_connection_fails() -> None:
    case = Case()
    case.evidence.log = '{"message": "RabbitMQ connection lost"}'
    assert case.found == []
    case.rules = Rules(answers=True, connected=True)
    assert case.found == [("L5", "reconnected")]


def test_more_connections_in_five_seconds_than_allowed_are_a_storm() -> None:
    case = Case(rules=Rules(answers=True, openings=3))
    case.evidence.openings = [0.0, 1.0, 2.0, 7.1, 7.2, 7.3]
    assert case.found == []
    case.evidence.openings.append(7.4)
    assert case.found == [("L5", "storm")]


def test_a_dead_letter_keeps_its_sender_s_properties_where_they_were_noted() -> None:
    case = Case()
    case.evidence.dead = [replace(dead(BAD), envelope="as sent")]
    case.record.attempted[BAD.name] = replace(BAD, envelope="as sent")
    assert case.found == []
    case.evidence.dead = [replace(dead(BAD), envelope="changed")]
    assert case.found == [("L2", "altered")]


def test_a_refused_message_without_a_dead_letter_is_lost() -> None:
    case = Case()
    case.evidence.dead.clear()
    assert case.found == [("L1", "lost")]


def test_a_refused_message_that_is_stored_was_let_through() -> None:
    case = Case()
    case.evidence.points[8] = stored(replace(BAD, expected="applied"), 8)
    assert case.found == [("L3", "let through")]


def test_a_deleted_point_that_comes_back_is_an_effect_of_a_duplicate() -> None:
    case = Case()
    case.evidence.points[9] = stored(GONE, 9)
    assert ("L2", "stale") in case.found


def test_replies_that_contradict_each_other_are_wrong_even_where_redelivery_is_expected() -> None:
    case = Case(rules=Rules(redelivery=True))
    case.record.replies.append(Reply("w1", 422, "invalid", None))
    assert case.found == [("L4", "contradiction")]


def test_a_second_reply_is_wrong_only_where_nothing_was_delivered_twice() -> None:
    case = Case()
    case.record.replies.append(case.record.replies[1])
    assert case.found == [("L4", "answered twice")]
    case.rules = Rules(redelivery=True)
    assert case.found == []


def test_the_ledger_reads_what_it_has_written(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger", "r") as ledger:
        ledger.attempted(ALL)
        ledger.confirmed([PLAIN, NEW])
        ledger.asked("q1", {"operation": "get", "key": 1})
        ledger.replied(Reply("q1", 200, None, [{"id": 1}]))
        record = ledger.read()
    assert list(record.attempted.values()) == list(ALL)
    assert record.confirmed == {PLAIN.name, NEW.name}
    assert record.asked == {"q1": {"operation": "get", "key": 1}}
    assert record.replies == [Reply("q1", 200, None, [{"id": 1}])]
