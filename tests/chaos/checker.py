"""What must hold at the end of every run, whatever was done to it: L1 to L5 over the ledger and the final state."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.chaos.ledger import COLLECTION, Message, digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.chaos.evidence import Evidence, Stored
    from tests.chaos.ledger import Record, Reply

CANARY = "canary-5d1f"


@dataclass(frozen=True, slots=True)
class Violation:
    """check: L1 to L5.   kind: one word of the table below.   what: the message, key or queue."""

    check: str
    kind: str
    what: str


# L1 nothing lost
LOST = "lost"  # confirmed, and in none of: applied, superseded, dead letter
CONDEMNED = "condemned"  # a good message among the dead letters
UNEXPLAINED = "unexplained"  # a dead letter without a worker's reason, where the worker was alive to give one
# L2 nothing duplicated in effect
STALE = "stale"  # an older version than the newest confirmed one is what is stored
ALTERED = "altered"  # a dead letter whose properties are not those that its sender wrote
TORN = "torn"  # the stored point is not, as a whole, what one message said
REPEATED = "repeated"  # two dead letters of one message, with nothing that explains a second delivery
# L3 nothing let through
LET_THROUGH = "let through"  # stored, and should have been refused, or was never sent
STRANGE = "strange"  # a queue, exchange or collection that nobody should have made
LEAKED = "leaked"  # content of a message in the workers' logs
# L4 no wrong answer
UNKNOWN_REPLY = "unknown reply"
CONTRADICTION = "contradiction"
WRONG_ANSWER = "wrong answer"
ANSWERED_TWICE = "answered twice"
UNANSWERED = "unanswered"
# L5 liveness
BACKLOG = "backlog"
CONSUMER = "leaked consumer"
EXIT = "exit code"
RECONNECTED = "reconnected"  # a worker lost its session, and with it what its neighbours had in flight
STORM = "storm"  # connections and channels opened one after the other, without a pause
HELD = "held"  # all writes were held, though the store answered

_HELD_LINE = "store unavailable, writes held"
_SESSION_LOST_LINE = "RabbitMQ connection lost"
_STORM_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What differs between experiments.

    redelivery: workers or connections die, so a reply or a dead letter may come twice.   killers: names of messages
    that end a worker, and so may be dead-lettered by the broker.   answers: every question has to be answered.
    condemned: good messages that may be among the dead letters, by code (a store that fails for good, say).
    never_held: single collections fail, so nothing may hold all of them.
    connected: no message and no refusal may end the session of a worker.
    openings: the most connections and channels that may be opened in five seconds.
    """

    redelivery: bool = False
    killers: frozenset[str] = frozenset()
    answers: bool = False
    condemned: frozenset[str] = frozenset()
    never_held: bool = False
    connected: bool = False
    openings: int | None = None


def check(record: Record, evidence: Evidence, rules: Rules) -> list[Violation]:
    return [
        *_nothing_lost(record, evidence),
        *_dead_letters(record, evidence, rules),
        *_contents(record, evidence),
        *_nothing_let_through(record, evidence),
        *_answers(record, evidence, rules),
        *_liveness(evidence),
        *_held(evidence, rules),
        *_connections(evidence, rules),
    ]


def _by_key(record: Record, names: set[str] | None = None) -> dict[int, list[Message]]:
    found: dict[int, list[Message]] = defaultdict(list)
    for name, message in record.attempted.items():
        if message.operation != "hostile" and (names is None or name in names):
            for key in message.keys:
                found[key].append(message)
    return found


def _rank(message: Message) -> tuple[int, int]:
    return (-1 if message.version is None else message.version, message.seq)


def _nothing_lost(record: Record, evidence: Evidence) -> Iterator[Violation]:
    dead = {letter.name for letter in evidence.dead}
    counted = record.confirmed - dead
    for name in sorted(counted):
        message = record.attempted[name]
        if message.expected == "refused":
            # Refused is not enough: what was refused has to be there to look at.
            yield Violation("L1", LOST, f"{name} was refused without a dead letter")
    everyone = _by_key(record)
    for key, messages in _by_key(record, counted).items():
        wanted = [message for message in messages if message.expected == "applied"]
        if not wanted:
            continue
        newest = max(wanted, key=_rank)
        stored = evidence.points.get(key)
        if stored is None:
            if not _may_be_absent(newest, everyone[key]):
                yield Violation("L1", LOST, f"{newest.name}: point {key} is not there")
        elif newest.version is not None and (_version(stored) or 0) < newest.version:
            yield Violation("L2", STALE, f"{newest.name}: point {key} is at {_version(stored)}, not {newest.version}")
        elif newest.operation == "delete" and (newest.version is None or _version(stored) == newest.version):
            yield Violation("L2", STALE, f"{newest.name}: point {key} is there again after its deletion")


def _may_be_absent(newest: Message, attempted: list[Message]) -> bool:
    deletes = [message for message in attempted if message.operation == "delete"]
    return any(newest.version is None or delete.version is None or _rank(delete) >= _rank(newest) for delete in deletes)


def _version(stored: Stored) -> int | None:
    return stored.payload.get("v")


def _dead_letters(record: Record, evidence: Evidence, rules: Rules) -> Iterator[Violation]:
    for letter in evidence.dead:
        message = record.attempted.get(letter.name or "")
        if message is None:
            yield Violation("L3", LET_THROUGH, f"a dead letter that was never sent, code {letter.code}")
            continue
        if message.expected == "applied" and letter.code not in rules.condemned and message.name not in rules.killers:
            yield Violation("L1", CONDEMNED, f"{message.name}, code {letter.code}")
        elif not letter.by_worker and message.name not in rules.killers:
            yield Violation("L1", UNEXPLAINED, f"{message.name}, the broker's reason {letter.code}")
        if message.envelope is not None and letter.envelope != message.envelope:
            yield Violation("L2", ALTERED, message.name)
    if not rules.redelivery:
        for name, times in Counter(letter.name for letter in evidence.dead).items():
            if times > 1:
                yield Violation("L2", REPEATED, f"{name}: {times} dead letters")


def _contents(record: Record, evidence: Evidence) -> Iterator[Violation]:
    for key, stored in evidence.points.items():
        payload = stored.payload
        name = f"{payload.get('run')}/{payload.get('producer')}/{payload.get('seq')}"
        message = record.attempted.get(name)
        if message is None or key not in message.keys:
            yield Violation("L3", LET_THROUGH, f"point {key} was never sent")
        elif message.expected == "refused":
            yield Violation("L3", LET_THROUGH, f"point {key} of {name} should have been refused")
        elif not isinstance(key, int) or _wrong(message, key, stored):
            yield Violation("L2", TORN, f"point {key} is not what {name} said")


def _wrong(message: Message, key: int, stored: Stored) -> bool:
    said = message.point(key)
    payload = {name: value for name, value in stored.payload.items() if not name.startswith("_")}
    return payload != said["payload"] or digest(message, key, stored.vector) != said["payload"]["digest"]


def _nothing_let_through(record: Record, evidence: Evidence) -> Iterator[Violation]:
    for kind, names in (
        ("collection", evidence.collections - {COLLECTION}),
        ("queue", evidence.strange_queues),
        ("exchange", evidence.strange_exchanges),
    ):
        for name in sorted(names):
            yield Violation("L3", STRANGE, f"{kind} {name!r}")
    if CANARY in evidence.log:
        yield Violation("L3", LEAKED, "the workers' log")
    for letter in evidence.dead:
        if any(CANARY in str(value) for name, value in letter.fields.items() if name.startswith("x-e")):
            yield Violation("L3", LEAKED, f"the headers of the dead letter of {letter.name}")


def _answers(record: Record, evidence: Evidence, rules: Rules) -> Iterator[Violation]:
    replies: dict[str, list[Reply]] = defaultdict(list)
    for reply in record.replies:
        replies[reply.correlation_id].append(reply)
    for correlation_id, given in replies.items():
        question = record.asked.get(correlation_id)
        if question is None:
            yield Violation("L4", UNKNOWN_REPLY, correlation_id)
            continue
        if len({reply.status for reply in given if reply.code is None or reply.status < 429}) > 1:
            yield Violation("L4", CONTRADICTION, f"{correlation_id}: {sorted(reply.status for reply in given)}")
        if len(given) > 1 and not rules.redelivery:
            yield Violation("L4", ANSWERED_TWICE, f"{correlation_id}: {len(given)} replies")
        for reply in given:
            if reply.status == 200 and (wrong := _wrong_result(question, reply.result, record)):
                yield Violation("L4", WRONG_ANSWER, f"{correlation_id}: {wrong}")
            elif question.get("expected") == "refused" and reply.status == 200:
                yield Violation("L4", WRONG_ANSWER, f"{correlation_id}: said to be done, and should have been refused")
    if rules.answers:
        for correlation_id in sorted(set(record.asked) - set(replies)):
            yield Violation("L4", UNANSWERED, correlation_id)


def _wrong_result(question: dict[str, Any], result: Any, record: Record) -> str | None:
    """A read may see any version that was sent, and nothing that was not; a receipt has to count what was sent."""
    if question["operation"] == "get":
        for point in result:
            payload = point["payload"]
            message = record.attempted.get(f"{payload['run']}/{payload['producer']}/{payload['seq']}")
            if point["id"] != question["key"] or message is None or point["id"] not in message.keys:
                return f"point {point['id']} for {question['key']}"
    elif question["operation"] == "upsert" and result != {"upserted": question["points"]}:
        return f"{result} for {question['points']} points"
    return None


def _liveness(evidence: Evidence) -> Iterator[Violation]:
    waiting = {name: n for name, n in evidence.ready.items() if n and not name.endswith((".dead", ".store"))}
    if not evidence.drained or waiting:
        yield Violation("L5", BACKLOG, ", ".join(f"{name}: {n}" for name, n in waiting.items()) or "unsettled")
    for name, n in evidence.consumers.items():
        if n:
            yield Violation("L5", CONSUMER, f"{name}: {n}")
    for code in evidence.exits:
        if code != 0:
            yield Violation("L5", EXIT, f"{code} after a soft stop")


def _held(evidence: Evidence, rules: Rules) -> Iterator[Violation]:
    if rules.never_held and (times := evidence.log.count(_HELD_LINE)):
        yield Violation("L5", HELD, f"{times} times")


def _connections(evidence: Evidence, rules: Rules) -> Iterator[Violation]:
    if rules.connected and (times := evidence.log.count(_SESSION_LOST_LINE)):
        yield Violation("L5", RECONNECTED, f"{times} times")
    if rules.openings is not None and (most := most_within(evidence.openings, _STORM_SECONDS)) > rules.openings:
        yield Violation("L5", STORM, f"{most} connections and channels in {_STORM_SECONDS:g} s")


def most_within(moments: Sequence[float], seconds: float) -> int:
    """The most of these moments, in ascending order, that lie within `seconds` of each other."""
    most = first = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] > seconds:
            first += 1
        most = max(most, last - first + 1)
    return most
