_FIRST = 64
_LOOKS = 32  # deliveries between one look and the next
_LEAST = 8


class Prefetch:
    """How many deliveries to ask for, so that their bodies stay within a number of bytes.

    RabbitMQ counts messages alone (it has no prefetch-size), so this goes by the mean size of the last 32; until so
    many have been seen no more than 64 are asked for, and never less than 8. Without `most_bytes` it is `most`.
    """

    def __init__(self, most: int, most_bytes: int | None = None) -> None:
        self.count = most if most_bytes is None else min(most, _FIRST)
        self._most = most
        self._most_bytes = most_bytes
        self._seen = self._bytes = 0  # since the last look

    def add(self, size: int) -> None:
        """Takes note of a delivery of so many bytes. `count` changes by half or double at least: that has a price."""
        if self._most_bytes is None:
            return
        self._seen += 1
        self._bytes += size
        if self._seen == _LOOKS:
            wanted = min(self._most, max(_LEAST, self._most_bytes * _LOOKS // max(self._bytes, _LOOKS)))
            self._seen = self._bytes = 0
            if wanted >= 2 * self.count or 2 * wanted <= self.count or wanted == self._most:
                self.count = wanted
