"""Options that an older Qdrant ignores without a word, with the first version that has them."""

import re
from dataclasses import dataclass
from typing import Any, cast

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError

# By option; an option that is there for longer has its newer values by name.
_SINCE: dict[str, dict[Any, tuple[int, int]] | tuple[int, int]] = {
    "memory": (1, 19),
    "datatype": {"turbo4": (1, 19), "turbo8": (1, 20), "turbo16": (1, 20)},
    "turbo": (1, 18),
    "bits": {"bits8": (1, 20)},
    "max_resident_memory_percent": (1, 18),
    "prevent_unoptimized": (1, 17),
    "inline_storage": (1, 16),
}
_RELEASE = re.compile(r"(\d+)\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class MinimumVersion:
    """The newest option of a body, as its path, and the first version that has it."""

    path: str
    version: tuple[int, int]

    def check(self, server: str) -> None:
        """Raises MessageError for a server of an older version. memq's engine, of version 0, answers for itself."""
        found = _RELEASE.match(server)
        has = None if found is None else (int(found[1]), int(found[2]))
        if has is None or has[0] == 0 or has >= self.version:
            return
        text = f"Qdrant {'.'.join(map(str, self.version))} or later is needed; this server is {server}"
        # The path may hold the name of a vector, which is the sender's own word.
        option = self.path.rpartition(".")[2]
        raise MessageError(
            ErrorCode.UNSUPPORTED_BY_STORE, f"{option}: {text}", stage="answer", answer=f"{self.path}: {text}"
        )


def minimum_version(fields: Any, path: str = "") -> MinimumVersion | None:
    """Return the option of a body that needs the newest server; None if every server has all options."""
    if not isinstance(fields, dict):
        return None
    found: list[MinimumVersion] = []
    for name, value in cast("dict[str, Any]", fields).items():
        place = f"{path}.{name}" if path else name
        since = _SINCE.get(name)
        version = since.get(value) if isinstance(since, dict) and isinstance(value, str) else since
        if isinstance(version, tuple):
            found.append(MinimumVersion(place, version))
        inner = None if name == "metadata" else minimum_version(value, place)
        if inner is not None:
            found.append(inner)
    return max(found, key=lambda each: each.version, default=None)
