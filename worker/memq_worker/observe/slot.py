import json
import mmap
import os
import time
import zlib
from typing import Any

from memq_worker.observe.catalogue import CATALOGUE, FINGERPRINT, MOST_TENANTS, NUMBERS, OTHER, PLACES

_FINGERPRINT, _BEAT, _LOOKED, _HEADER = 0, 1, 2, 8
_NUMBERS_BYTES = 8 * (_HEADER + NUMBERS)
_REPORT_BYTES = 8192
_REPORT_HEAD = 8  # length and checksum
_NAME_BYTES = 64
_NAMES_BYTES = MOST_TENANTS * _NAME_BYTES
_SIZE = _NUMBERS_BYTES + _REPORT_BYTES + _NAMES_BYTES


class Foreign(Exception):
    """The memory was laid out by another release of memq."""


class Slot:
    """The numbers of one place in a pool, in memory that the pool shares with the worker in that place.

    The pool reads them whether or not the worker answers, and they outlive it: the next worker in the place counts on
    from where a killed one was. Only one process writes at a time; a number is written whole.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        numbers = memoryview(memory)[:_NUMBERS_BYTES].cast("d")
        self._header = numbers[:_HEADER]
        self._report = memoryview(memory)[_NUMBERS_BYTES : _NUMBERS_BYTES + _REPORT_BYTES]
        self._names = memoryview(memory)[_NUMBERS_BYTES + _REPORT_BYTES :]
        self.numbers = numbers[_HEADER:]

    @classmethod
    def private(cls) -> "Slot":
        slot = cls(mmap.mmap(-1, _SIZE))
        slot._header[_FINGERPRINT] = FINGERPRINT
        return slot

    @classmethod
    def shared(cls) -> tuple["Slot", int]:
        """The slot, and the file descriptor to hand to a child: it has no name, so nothing is left of it."""
        descriptor = os.memfd_create("memq-worker")
        os.ftruncate(descriptor, _SIZE)
        slot = cls(mmap.mmap(descriptor, _SIZE))
        slot._header[_FINGERPRINT] = FINGERPRINT
        return slot, descriptor

    @classmethod
    def handed(cls, descriptor: int) -> "Slot":
        """Raises Foreign, or OSError for what is no slot's descriptor."""
        if os.fstat(descriptor).st_size != _SIZE:
            raise Foreign
        slot = cls(mmap.mmap(descriptor, _SIZE))
        os.close(descriptor)
        if slot._header[_FINGERPRINT] != FINGERPRINT:
            raise Foreign
        return slot

    def clear(self) -> None:
        """Clear the state of a worker that has ended. Its counters stay.

        What it saw of the queues is no state of its own: it stays until the next worker looks, or until it is too old.
        """
        self._header[_BEAT] = 0.0
        self._report[:_REPORT_HEAD] = bytes(_REPORT_HEAD)
        for instrument in CATALOGUE:
            if instrument.kind == "gauge" and not instrument.of_pool:
                for combination in instrument.combinations:
                    self.numbers[PLACES[instrument.name, combination]] = 0.0

    def beat(self) -> None:
        self._header[_BEAT] = time.monotonic()

    @property
    def beat_age_seconds(self) -> float | None:
        """Since the worker's event loop last ran; None before it ever did."""
        at = self._header[_BEAT]
        # The clock is one for all processes of a machine.
        return max(0.0, time.monotonic() - at) if at else None

    @property
    def tenants(self) -> dict[str, str]:
        """Names of tenants by the label value of their series. A name once given stays."""
        names: dict[str, str] = {}
        for number in range(MOST_TENANTS):
            name = bytes(self._names[number * _NAME_BYTES : (number + 1) * _NAME_BYTES]).rstrip(b"\0").decode()
            if not name:
                break
            names[str(number)] = name
        return names

    def tenant(self, name: str) -> str:
        """Return the label value of a tenant's series, a new one for a new name while there is room."""
        known = self.tenants
        for number, given in known.items():
            if given == name:
                return number
        if len(known) == MOST_TENANTS:
            return OTHER
        at = len(known) * _NAME_BYTES
        text = name.encode()[:_NAME_BYTES]
        self._names[at : at + len(text)] = text
        return str(len(known))

    def looked(self) -> None:
        self._header[_LOOKED] = time.monotonic()

    @property
    def look_age_seconds(self) -> float | None:
        """Since the queues' numbers were true; None before they ever were."""
        at = self._header[_LOOKED]
        return max(0.0, time.monotonic() - at) if at else None

    def tell(self, report: dict[str, Any]) -> None:
        text = json.dumps(report).encode()[: _REPORT_BYTES - _REPORT_HEAD]
        self._report[_REPORT_HEAD : _REPORT_HEAD + len(text)] = text
        self._report[:_REPORT_HEAD] = len(text).to_bytes(4, "big") + zlib.crc32(text).to_bytes(4, "big")

    @property
    def report(self) -> dict[str, Any] | None:
        """Last report of the worker; None without one, or while it is being written."""
        head = bytes(self._report[:_REPORT_HEAD])
        length = int.from_bytes(head[:4], "big")
        text = bytes(self._report[_REPORT_HEAD : _REPORT_HEAD + length])
        if not text or zlib.crc32(text) != int.from_bytes(head[4:], "big"):
            return None
        return json.loads(text)
