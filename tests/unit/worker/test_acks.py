from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from memq_amqp import How, Settlement

from memq_worker.amqp.prefetch import AckLedger


class BrokerChannel:
    """What RabbitMQ keeps for a channel, and what it refuses."""

    def __init__(self) -> None:
        self.unacked: list[int] = []
        self.acked: set[int] = set()
        self.returned: set[int] = set()
        self.rejected: set[int] = set()

    def settle(self, settlement: Settlement) -> None:
        how, tag, multiple = settlement
        assert tag in self.unacked, "PRECONDITION_FAILED - unknown delivery tag"
        covered = [t for t in self.unacked if t <= tag] if multiple else [tag]
        {How.ACK: self.acked, How.REQUEUE: self.returned, How.REJECT: self.rejected}[how].update(covered)
        self.unacked = [t for t in self.unacked if t not in covered]


SETTLED = st.tuples(st.sampled_from(How), st.integers(0, 100))


@given(st.lists(st.one_of(st.just("deliver"), st.just("flush"), st.just("flush all"), SETTLED), max_size=200))
def test_the_broker_hears_of_each_settlement_once_and_of_nothing_else(steps: list[str | tuple[How, int]]) -> None:
    ledger, broker = AckLedger(), BrokerChannel()
    open_tags: list[int] = []
    done: dict[How, set[int]] = {how: set() for how in How}
    last = 0

    def flush(*, requeued: bool) -> None:
        told = ledger.take(requeued=requeued)
        assert told == sorted(told, key=lambda each: (each.how is How.REQUEUE, each.tag))
        for each in told:
            broker.settle(each)
        assert broker.acked == done[How.ACK]
        assert broker.rejected == done[How.REJECT]
        assert broker.returned <= done[How.REQUEUE]
        assert not requeued or broker.returned == done[How.REQUEUE]
        assert len(ledger) == len(broker.unacked)
        for after in (0, last // 2, last):
            assert ledger.counted(after) == sum(tag > after for tag in broker.unacked)

    for step in steps:
        if step == "deliver":
            last += 1
            ledger.delivered(last)
            broker.unacked.append(last)
            open_tags.append(last)
        elif isinstance(step, str):
            flush(requeued=step == "flush all")
        elif open_tags:
            how, which = step
            tag = open_tags.pop(which % len(open_tags))
            ledger.settle(tag, how)
            done[how].add(tag)
    flush(requeued=True)


def delivered(count: int) -> AckLedger:
    ledger = AckLedger()
    for tag in range(1, count + 1):
        ledger.delivered(tag)
    return ledger


def test_runs_of_settlements_are_one_each() -> None:
    ledger = delivered(300)
    for tag in range(300, 0, -1):
        ledger.settle(tag, How.REQUEUE if tag > 200 or tag == 150 else How.ACK)
    alone = [(How.ACK, tag, False) for tag in range(151, 201)]
    back = [(How.REQUEUE, tag, True) for tag in (231, 263, 295, 300)]
    assert ledger.take() == [(How.ACK, 149, True), *alone, *back]


def test_a_held_delivery_does_not_keep_later_ones_unacknowledged() -> None:
    ledger = delivered(3)
    ledger.settle(2, How.ACK)
    ledger.settle(3, How.ACK)
    assert ledger.take() == [(How.ACK, 2, False), (How.ACK, 3, False)]
    assert len(ledger) == 1
    ledger.settle(1, How.ACK)
    assert ledger.take() == [(How.ACK, 1, True)]
    assert len(ledger) == 0


def test_what_is_handed_back_waits_for_all_of_it_and_goes_oldest_first() -> None:
    ledger = delivered(6)
    ledger.settle(5, How.REQUEUE)
    ledger.settle(2, How.REQUEUE)
    ledger.settle(4, How.REJECT)
    ledger.settle(1, How.ACK)
    ledger.settle(3, How.ACK)
    assert ledger.take(requeued=False) == [(How.ACK, 1, True), (How.ACK, 3, False), (How.REJECT, 4, False)]
    ledger.settle(6, How.REQUEUE)
    assert ledger.take() == [(How.REQUEUE, 6, True)]
    assert len(ledger) == 0
