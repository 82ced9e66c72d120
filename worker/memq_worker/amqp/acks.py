class AckLedger:
    """Settled deliveries of one channel, and the fewest acknowledgements for them.

    What is done from the oldest on without a gap is one acknowledgement with `multiple`; what is done beyond the first
    open delivery is acknowledged by tag, so that a held message does not keep the others in the prefetch window.
    """

    def __init__(self) -> None:
        self._open: dict[int, bool] = {}  # tag -> told the broker; in order of delivery
        self._done: list[int] = []
        self._returned: list[tuple[int, bool]] = []
        self._told = 0  # entries of _open that the broker knows to be acknowledged
        self.last = 0  # the tag of the latest delivery

    def __len__(self) -> int:
        """Deliveries that the broker counts as unacknowledged."""
        return len(self._open) - self._told

    def delivered(self, tag: int) -> None:
        self._open[tag] = False
        self.last = tag

    def counted(self, after: int) -> int:
        """Count the deliveries after this tag that the broker counts as prefetched."""
        return sum(tag > after and not told for tag, told in self._open.items())

    def ack(self, tag: int) -> None:
        self._done.append(tag)

    def nack(self, tag: int, *, requeue: bool) -> None:
        self._returned.append((tag, requeue))

    def take(self, *, requeued: bool = True) -> tuple[list[tuple[int, bool]], list[tuple[int, bool]]]:
        """Acknowledgements as (tag, multiple), and what goes back as (tag, requeue): to be sent before the others.

        A multiple acknowledgement covers every older tag, so what goes back has to be back before it. What is to be
        queued again is oldest first, since a quorum queue gives it out again in the order in which it came back; it
        stays here unless `requeued`.
        """
        returned = sorted(each for each in self._returned if requeued or not each[1])
        self._returned = [] if requeued else [each for each in self._returned if each[1]]
        for tag, _ in returned:
            self._told -= self._open.pop(tag, False)
        done = set(self._done)
        self._done = []
        mark = None
        for tag in list(self._open):
            if tag in done:
                mark = tag
            elif not self._open[tag]:
                break
            self._told -= self._open.pop(tag)
        acks = [] if mark is None else [(mark, True)]
        for tag in sorted(done):
            if tag in self._open:
                self._told += not self._open[tag]
                self._open[tag] = True
                acks.append((tag, False))
        return acks, returned
