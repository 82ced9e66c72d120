"""The runbooks have a section for every alert, and the commands, pages and settings that they name exist."""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main
import yaml

from grafana.generate import DASHBOARDS
from memq_cli.app import app as memq_app
from memq_schemas import ErrorCode
from memq_worker.cli import app as worker_app
from memq_worker.observe import runbooks
from memq_worker.settings import Settings, variable
from stack.machine import SERVERS
from stack.node import epmd_program
from stack.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/reference/runbooks.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"(?ms)^## (\w+)\n(.*?)(?=^## |\Z)", TEXT))
ALERTS = [
    rule["alert"]
    for group in yaml.safe_load((ROOT / "prometheus/alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
PROGRAMS = ("memq", "memq-worker", "rabbitmqctl", "rabbitmq-diagnostics", "curl", "docker")


def named_commands(text: str) -> Iterator[list[str]]:
    """Every command line in a fenced block or in backquotes, without comments."""
    fenced = "\n".join(re.findall(r"(?ms)^```sh\n(.*?)^```", text)).splitlines()
    quoted = re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```", "", text))
    for line in (*fenced, *quoted):
        words = shlex.split(line, comments=True)
        if len(words) > 1 and words[0] in PROGRAMS:
            yield words


COMMANDS = [" ".join(words) for words in named_commands(TEXT)]
README = [" ".join(words) for words in named_commands((ROOT / "README.md").read_text("utf-8"))]
# Without an option the README speaks of a command, and gives no example.
WHOLE = [*COMMANDS, *(line for line in README if " --" in line and "COMMAND" not in line)]
OURS = sorted({line for line in WHOLE if line.startswith(("memq ", "memq-worker "))})
BROKERS = [line.split("exec rabbitmq ")[-1] for line in COMMANDS if re.search("rabbitmqctl|rabbitmq-diagnostics", line)]


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_its_section(name: str) -> None:
    assert name in SECTIONS, "what it means, what to look at, what to do"
    for part in ("**It means**", "**Look at**", "**Do**"):
        assert SECTIONS[name].count(part) == 1


def test_every_section_is_an_alert_s() -> None:
    assert list(SECTIONS) == ALERTS, "in the order of prometheus/alerts.yml"


def test_links_between_sections_lead_somewhere() -> None:
    assert set(re.findall(r"\]\(#(\w+)\)", TEXT)) <= {name.lower() for name in SECTIONS}


@pytest.mark.parametrize("line", OURS)
def test_our_commands_exist_with_their_options(line: str) -> None:
    program, *words = line.split()
    command: Any = typer.main.get_command({"memq": memq_app, "memq-worker": worker_app}[program])
    while words and words[0] in getattr(command, "commands", {}):
        command = command.get_command(None, words.pop(0))
    assert not hasattr(command, "commands"), f"{line}: no such command"
    command.make_context(program, words).close()


@pytest.mark.parametrize("line", BROKERS)
def test_the_broker_s_commands_exist(line: str) -> None:
    program, command, *_ = line.split()
    if not SERVERS[0].exists():
        pytest.skip("RabbitMQ is not installed on this machine, so that nobody can ask its tools")
    assert re.search(rf"^\s+{command}\s", help_of(program), re.MULTILINE)


@functools.cache
def help_of(program: str) -> str:
    """What `program help` prints. The tools start an epmd, even for their help: it gets a port of its own, and ends."""
    (port,) = free_ports(1)
    environment = {**os.environ, "ERL_EPMD_PORT": str(port)}
    asked = [str(SERVERS[0].with_name(program)), "help"]
    try:
        return subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=60, check=False).stdout
    finally:
        subprocess.run([epmd_program(), "-port", str(port), "-kill"], capture_output=True, timeout=60, check=False)


def test_addresses_are_those_that_a_pool_serves() -> None:
    urls = [line.split()[-1] for line in COMMANDS if line.startswith("curl")]
    port = Settings.model_fields["metrics_port"].default
    assert urls
    assert all(re.fullmatch(rf"http://127\.0\.0\.1:{port}/(metrics|livez|readyz)", url) for url in urls)


def test_services_are_those_that_are_scraped() -> None:
    scraped = (ROOT / "prometheus/prometheus.yml").read_text("utf-8")
    composed = [line.split() for line in COMMANDS if line.startswith("docker compose")]
    assert composed
    for words in composed:
        service = "rabbitmq" if words[2] == "exec" else words[-1]
        assert re.search(rf'[\["]{service}[\]:]', scraped), words


def test_panels_settings_and_codes_are_called_what_they_are_called() -> None:
    titles = {panel.title for board in DASHBOARDS for panel in board.panels}
    prose = " ".join(TEXT.split())
    panels = set(re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", prose)) - {"Targets"}  # a page of Prometheus's own
    panels -= {board.title for board in DASHBOARDS}
    assert len(panels) > 10
    assert panels <= titles
    settings = {variable(name) for name in Settings.model_fields}
    assert set(re.findall(r"MEMQ_[A-Z_]+", TEXT)) <= settings
    codes = set(re.findall(r"--code (\w+)", TEXT)) | set(re.findall(r"Codes? .*?`(\w+)`", TEXT))
    assert codes <= set(ErrorCode)


def test_a_pool_serves_every_section_under_the_anchor_that_alerts_and_pages_use() -> None:
    html = runbooks.page().decode()
    for name in ALERTS:
        assert f'id="{name.lower()}"' in html
        assert f'id="{name}"' in html
