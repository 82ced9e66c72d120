import logging
from pathlib import Path

from memq_worker.errors import ConfigurationError
from memq_worker.tenants.file import Tenant, TenantsFile, read

logger = logging.getLogger(__name__)

_Stamp = tuple[int, int, int]


class Register:
    """The tenants of a worker: the last good content of the tenants file, which is read again when it changes.

    A file that cannot be read, or whose content changed without a higher generation (such as one cut in half), leaves
    the former content in force; `problem` and an error in the log say so until the file is good again.
    """

    def __init__(self, path: Path | None) -> None:
        """path: None for no tenants. Raises ConfigurationError for a file that is not good now."""
        self._path = path
        self._stamp = None if path is None else _stamp(path)
        self.current: TenantsFile | None = None if path is None else read(path)
        self.problem = ""
        """Why the file as it is now is not in force; empty while it is."""

    @property
    def generation(self) -> int:
        """Generation in force; 0 without a file."""
        return 0 if self.current is None else self.current.generation

    def get(self, name: str) -> Tenant | None:
        """Return the tenant of this name, None if the file has none."""
        return None if self.current is None else self.current.tenants.get(name)

    def look(self) -> bool:
        """Read the file again if it was written since. Return True if another content is in force now."""
        if self._path is None or (stamp := _stamp(self._path)) == self._stamp:
            return False
        self._stamp = stamp
        try:
            found = read(self._path)
            self._check(found)
        except ConfigurationError as error:
            self.problem = str(error)
            logger.error(  # noqa: TRY400  (the reason is in the text)
                "tenants file refused, former one kept",
                extra={"reason": self.problem, "generation": self.generation},
            )
            return False
        changed = self.current is None or found.digest != self.current.digest
        if self.problem or changed:
            logger.info("tenants file read", extra={"generation": found.generation, "tenants": len(found.tenants)})
        self.problem = ""
        self.current = found
        return changed

    def _check(self, found: TenantsFile) -> None:
        before = self.current
        if before is None or found.digest == before.digest:
            return
        if found.generation <= before.generation:
            raise ConfigurationError(
                f"{self._path}: generation: {found.generation} with other content than generation "
                f"{before.generation} in force; raise it with every change"
            )


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
