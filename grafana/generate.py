"""Writes the dashboards that Grafana is provisioned with.

python -m grafana.generate           writes the files
python -m grafana.generate --check   writes nothing; exits 1 and names the files that are stale
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from grafana.dead_letters import DEAD_LETTERS
from grafana.one_worker import WORKER_PAGE
from grafana.overview import OVERVIEW

FOLDER = Path(__file__).resolve().parent / "dashboards"
DASHBOARDS = (OVERVIEW, WORKER_PAGE, DEAD_LETTERS)


def generated() -> dict[Path, str]:
    """Every dashboard's file with its text."""
    return {
        FOLDER / f"{each.uid}.json": json.dumps(each.lowered(), indent=2, ensure_ascii=False) + "\n"
        for each in DASHBOARDS
    }


def stale() -> list[Path]:
    """Files that differ from what would be written, are missing, or are no longer generated."""
    wanted = generated()
    differing = [path for path, text in wanted.items() if not path.is_file() or path.read_text("utf-8") != text]
    return differing + sorted(set(FOLDER.glob("*.json")) - wanted.keys())


def write() -> None:
    wanted = generated()
    for path in set(FOLDER.glob("*.json")) - wanted.keys():
        path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m grafana.generate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is stale")
    if not parser.parse_args().check:
        write()
        return 0
    found = stale()
    for path in found:
        sys.stderr.write(f"stale: {path.relative_to(FOLDER.parent.parent)}; run python -m grafana.generate\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
