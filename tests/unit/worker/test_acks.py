from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memq_worker.amqp.prefetch import AckLedger


class BrokerChannel:
    """What RabbitMQ keeps for a channel, and what it refuses."""

    def __init__(self) -> None:
        self.unacked: list[int] = []
        self.acked: set[int] = set()
        self.returned: set[int] = set()

    def ack(self, tag: int, multiple: bool) -> None:
        assert tag in self.unacked, "PRECONDITION_FAILED - unknown delivery tag"
        covered = [t for t in self.unacked if t <= tag] if multiple else [tag]
        self.acked.update(covered)
        self.unacked = [t for t in self.unacked if t not in covered]

    def nack(self, tag: int) -> None:
        assert tag in self.unacked, "PRECONDITION_FAILED - unknown delivery tag"
        self.returned.add(tag)
        self.unacked.remove(tag)


@given(
    st.lists(
        st.one_of(
            st.just("deliver"), st.just("flush"), st.tuples(st.sampled_from(["ack", "nack"]), st.integers(0, 100))
        ),
        max_size=200,
    )
)
def test_the_broker_hears_of_each_settlement_once_and_of_nothing_else(steps: list[str | tuple[str, int]]) -> None:
    ledger, broker = AckLedger(), BrokerChannel()
    open_tags: list[int] = []
    done: set[int] = set()
    returned: set[int] = set()
    last = 0

    def flush() -> None:
        acks, back = ledger.take()
        for tag, _ in back:
            broker.nack(tag)
        for tag, multiple in acks:
            broker.ack(tag, multiple)
        assert broker.acked == done
        assert broker.returned == returned
        assert len(ledger) == len(broker.unacked)
        for after in (0, last // 2, last):
            assert ledger.counted(after) == sum(tag > after for tag in broker.unacked)

    for step in steps:
        if step == "deliver":
            last += 1
            ledger.delivered(last)
            broker.unacked.append(last)
            open_tags.append(last)
        elif step == "flush":
            flush()
        elif open_tags:
            what, which = step
            tag = open_tags.pop(int(which) % len(open_tags))
            if what == "ack":
                ledger.ack(tag)
                done.add(tag)
            else:
                ledger.nack(tag, requeue=True)
                returned.add(tag)
    flush()


def test_a_run_of_settlements_is_one_acknowledgement() -> None:
    ledger = AckLedger()
    for tag in range(1, 101):
        ledger.delivered(tag)
    for tag in range(1, 101):
        ledger.ack(tag)
    assert ledger.take() == ([(100, True)], [])


def test_a_held_delivery_does_not_keep_later_ones_unacknowledged() -> None:
    ledger = AckLedger()
    for tag in (1, 2, 3):
        ledger.delivered(tag)
    ledger.ack(2)
    ledger.ack(3)
    assert ledger.take() == ([(2, False), (3, False)], [])
    assert len(ledger) == 1
    ledger.ack(1)
    assert ledger.take() == ([(1, True)], [])
    assert len(ledger) == 0


def test_what_is_handed_back_waits_for_all_of_it_and_goes_oldest_first() -> None:
    ledger = AckLedger()
    for tag in range(1, 7):
        ledger.delivered(tag)
    ledger.nack(5, requeue=True)
    ledger.nack(2, requeue=True)
    ledger.nack(4, requeue=False)
    ledger.ack(1)
    ledger.ack(3)
    assert ledger.take(requeued=False) == ([(1, True), (3, False)], [(4, False)])
    ledger.nack(6, requeue=True)
    assert ledger.take() == ([], [(2, True), (5, True), (6, True)])
    assert len(ledger) == 0
