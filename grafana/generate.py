"""Writes the dashboards that Grafana is provisioned with.

python -m grafana.generate           writes the files
python -m grafana.generate --check   writes nothing; exits 1 and names the files that are stale
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grafana.dead_letters import DEAD_LETTERS
from grafana.one_worker import WORKER_PAGE
from grafana.overview import OVERVIEW
from stack.generated import Generated

FOLDER = Path(__file__).resolve().parent / "dashboards"
DASHBOARDS = (OVERVIEW, WORKER_PAGE, DEAD_LETTERS)


def generated() -> dict[Path, str]:
    """Every dashboard's file with its text."""
    return {
        FOLDER / f"{each.uid}.json": json.dumps(each.lowered(), indent=2, ensure_ascii=False) + "\n"
        for each in DASHBOARDS
    }


def files() -> Generated:
    """All files of this generator."""
    return Generated("grafana.generate", __doc__ or "", FOLDER.parent.parent, generated, FOLDER)


if __name__ == "__main__":
    sys.exit(files().command())
