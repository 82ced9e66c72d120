"""Files that follow from code: written, or compared with what would be written."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class Generated:
    """The files of one generator, `python -m module`.

    texts: returns each file's path and text.   folder: all its *.json are of this generator, so others there are left
    over; None where no file can be.
    """

    def __init__(
        self, module: str, about: str, root: Path, texts: Callable[[], Mapping[Path, str]], folder: Path | None = None
    ) -> None:
        self._module = module
        self._about = about
        self._root = root
        self._texts = texts
        self._folder = folder

    def stale(self) -> list[Path]:
        """Return the files that differ from what would be written, are missing, or are no longer generated."""
        wanted = self._texts()
        differing = [path for path, text in wanted.items() if not path.is_file() or path.read_text("utf-8") != text]
        return differing + self._left_over(wanted)

    def write(self) -> None:
        """Write all files, and delete those that are left over."""
        wanted = self._texts()
        for path in self._left_over(wanted):
            path.unlink()
        for path, text in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")

    def command(self) -> int:
        """Do what the command line says. Return the exit code: 1 if --check has found a stale file."""
        parser = argparse.ArgumentParser(prog=f"python -m {self._module}", description=self._about.splitlines()[0])
        parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the stale files")
        if not parser.parse_args().check:
            self.write()
            return 0
        found = self.stale()
        for path in found:
            sys.stderr.write(f"stale: {path.relative_to(self._root)}; run python -m {self._module}\n")
        return 1 if found else 0

    def _left_over(self, wanted: Mapping[Path, str]) -> list[Path]:
        return [] if self._folder is None else sorted(set(self._folder.glob("*.json")) - wanted.keys())
