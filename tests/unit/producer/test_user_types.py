"""What a type checker sees of the producers in programs of users."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
MISSPELT = """
from memq import Producer

async def write(memq: Producer) -> None:
    await memq.upsert("notes", [{"id": 1, "vectr": [1.0]}])
"""


def test_examples_are_typed_and_a_misspelt_key_is_seen(tmp_path: Path) -> None:
    names = [f"example_{number}.py" for number in range(len(EXAMPLES))]
    for name, text in zip([*names, "misspelt.py"], [*EXAMPLES, MISSPELT], strict=True):
        (tmp_path / name).write_text(text)
    settings = {"typeCheckingMode": "strict", "venvPath": str(ROOT), "venv": ".venv", "include": ["."]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    pyright = [
        Path(sys.executable).with_name("pyright"),
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "-p",
        tmp_path,
    ]
    done = subprocess.run(pyright, capture_output=True, text=True, check=False)
    found = {Path(problem["file"]).name: problem for problem in json.loads(done.stdout)["generalDiagnostics"]}
    assert list(found) == ["misspelt.py"]
    assert "vectr" in found["misspelt.py"]["message"] or "PointRow" in found["misspelt.py"]["message"]
