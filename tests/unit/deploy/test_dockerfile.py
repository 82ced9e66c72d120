"""worker/Dockerfile: clean to hadolint, on the tested Python, and with all that it copies makes the whole package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from memq_worker.cli import app
from stack import images

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "worker" / "Dockerfile"
TEXT = FILE.read_text("utf-8").replace("\\\n", " ")
HADOLINT = Path(sys.executable).with_name("hadolint")


def instructions(name: str) -> list[str]:
    return re.findall(rf"(?m)^{name}\s+(.*)$", TEXT)


def copied() -> list[tuple[str, str]]:
    """From the repository, source and destination."""
    lines = [line.split() for line in instructions("COPY") if not line.startswith("--from")]
    return [(source, line[-1]) for line in lines for source in line[:-1]]


def test_hadolint_finds_nothing(tmp_path: Path) -> None:
    done = subprocess.run([HADOLINT, FILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    wrong = tmp_path / "Dockerfile"
    wrong.write_text("FROM python\nRUN cd /tmp\n")
    assert subprocess.run([HADOLINT, wrong], capture_output=True, check=False).returncode == 1, "the check can fail"


def test_both_stages_stand_on_the_tested_python() -> None:
    assert [line.split()[0] for line in instructions("FROM")] == [images.PYTHON] * 2


def test_it_runs_as_nobody_in_particular() -> None:
    (user,) = instructions("USER")
    assert all(int(part) >= 10_000 for part in user.split(":"))
    last = TEXT.rpartition("\nFROM ")[2]
    assert last.index("\nUSER ") < last.index("\nENTRYPOINT ")
    commands = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    assert [json.loads(line) for line in instructions("ENTRYPOINT")] == [["memq-worker"]]
    assert json.loads(instructions("CMD")[-1])[0] in commands
    (check,) = instructions("HEALTHCHECK")
    program, command = json.loads(check.partition("CMD ")[2])
    assert (program, command in commands) == ("memq-worker", True)
    assert "--require-hashes" in TEXT


def test_what_it_copies_is_there_let_in_and_enough_for_the_package(tmp_path: Path) -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert {source for source, _ in copied()} == let_in
    context = tmp_path / "src"
    context.mkdir()
    for source, destination in copied():
        if (ROOT / source).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / source, context / destination, ignore=ignore)
        else:
            (context / destination).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, context / destination)
    # The step of the Dockerfile that no lock proves: the build, from these files alone.
    line = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(line, cwd=context, env={"PATH": os.defpath}, capture_output=True, check=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    held = zipfile.ZipFile(wheel).namelist()
    packages = (
        "memq",
        "memq_cli",
        "memq_schemas",
        "memq_amqp",
        "memq_process",
        "memq_worker",
        "memq_engine",
        "memq_qdrant",
    )
    for package in packages:
        (source,) = ROOT.glob(f"*/{package}")
        modules = {str(file.relative_to(source.parent)) for file in source.rglob("*.py")}
        assert modules <= set(held), modules - set(held)
    assert "memq_worker/observe/runbooks.md" in held, "the pool serves it"
    entries = next(name for name in held if name.endswith("entry_points.txt"))
    assert "memq-worker = memq_worker.entry:main" in zipfile.ZipFile(wheel).read(entries).decode()
