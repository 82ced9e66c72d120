"""What Prometheus is told: that promtool finds nothing wrong with it, and that every alert is held to its tests."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from grafana.messages import OURS
from memq_schemas import CODES
from memq_schemas.tenants import shared_topology, tenant_topology
from memq_schemas.topology import DEFAULT_PREFIX, topology
from stack.machine import Machine
from stack.prometheus import NoPrometheus, configuration, found

if TYPE_CHECKING:
    from collections.abc import Callable

    from stack.prometheus import Programs

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "prometheus"
SECONDS = 280.0  # the tests of all alerts take fifteen on an idle machine
BASE = "{{{{ with $externalLabels.{} }}}}{{{{ . }}}}{{{{ else }}}}{}{{{{ end }}}}"


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text("utf-8"))


def rules(name: str) -> list[dict[str, Any]]:
    return [rule for group in read(name)["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}
TESTS = read("alerts_test.yml")["tests"]


@pytest.mark.parametrize(
    "arguments",
    [
        # Syntax only: the file with Qdrant's key is in a container. The rules are checked by themselves.
        ("check", "config", "--syntax-only", "--lint=all", "--lint-fatal", "prometheus.yml"),
        ("check", "rules", "--lint=all", "--lint-fatal", "recording.yml", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
        ("test", "rules", "budget_test.yml"),
    ],
    ids=lambda arguments: " ".join((*arguments[:2], arguments[-1])),
)
def test_promtool_finds_nothing_wrong(prometheus_programs: Programs, arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [prometheus_programs.promtool, *arguments],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_seen_to_fire_to_stay_silent_and_to_meet_missing_data(name: str) -> None:
    """promtool runs the tests of alerts_test.yml; this is that none is missing."""
    checks = [(each["name"], bool(check["exp_alerts"])) for each in TESTS for check in each.get("alert_rule_test", ())
              if check["alertname"] == name]  # fmt: skip
    assert any(fires for _, fires in checks), "it never fires"
    if name != "Watchdog":
        assert any(not fires for _, fires in checks), "it is never silent"
        for situation in ("a healthy service", "cold:"):
            assert [fires for test, fires in checks if test.startswith(situation)] == [False]
    assert any(test.startswith("nothing is scraped") for test, _ in checks)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_tells_an_operator_what_he_needs(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in ("critical", "warning", "info", "none")
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url", "dashboard_url"}
    # Both addresses are absolute and have the base that prometheus.yml configures.
    assert notes["runbook_url"] == f"{BASE.format('memq_runbooks', 'http://127.0.0.1:9464/runbooks')}#{name.lower()}"
    base, _, page = notes["dashboard_url"].partition("/d/")
    assert base == BASE.format("memq_grafana", "http://127.0.0.1:3000")
    path, _, chosen = page.partition("?")
    uid, _, slug = path.partition("/")
    board = json.loads((ROOT / "grafana/dashboards" / f"{uid}.json").read_text("utf-8"))
    assert slug == board["title"].replace(" ", "-")
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert set(re.findall(r"var-(\w+)=", chosen)) <= variables


def test_what_burns_the_budget_is_what_the_table_of_codes_calls_our_fault() -> None:
    ours = {code.value for code, meaning in CODES.items() if meaning.status >= 500 or meaning.status == 429}
    burned = [rule["expr"] for rule in rules("recording.yml") if rule["record"].startswith("memq:messages_burned:")]
    assert len(burned) == 4
    for expression in (*burned, OURS):
        match = re.search(r'code=~"([^"]*)"', expression)
        assert match is not None
        assert set(match[1].split("|")) == ours


@pytest.mark.parametrize("prefix", [DEFAULT_PREFIX, "acme", "team.memq"])
def test_the_records_know_every_queue_of_the_topology(prefix: str) -> None:
    ready = next(rule for rule in rules("recording.yml") if rule["record"] == "memq:queue_messages_ready:sum")
    selectors = re.findall(r'rabbitmq_detailed_queue_messages_ready\{queue=~"([^"]*)"', ready["expr"])
    assert len(selectors) == 2
    parts = re.search(r'"prefix", "\$1", "queue", "([^"]*)"', ready["expr"])
    assert parts is not None
    for queue in (
        *topology(prefix).queues,
        *shared_topology(prefix).queues,
        *tenant_topology(prefix, "acme", own_lane=True).queues,
    ):
        if queue.name.endswith((".store", ".tenants")):
            continue  # the store's identity and the tenants' generation are no messages of a user
        assert any(re.fullmatch(selector, queue.name) for selector in selectors)
        match = re.fullmatch(parts[1], queue.name)
        assert match is not None
        assert match.groups() == (prefix, queue.name.removeprefix(f"{prefix}."))
    assert not any(re.fullmatch(selector, f"{prefix}.reply.abc") for selector in selectors)


def test_other_addresses_change_nothing_else() -> None:
    theirs = read("prometheus.yml")
    jobs = [job["job_name"] for job in theirs["scrape_configs"]]
    ours = yaml.safe_load(configuration({name: [f"127.0.0.1:{port}"] for port, name in enumerate(jobs)}, "2s"))
    seconds = {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"}
    assert ours["global"] == {**theirs["global"], **seconds}
    assert ours["alerting"]["alertmanagers"] == [{"static_configs": [{"targets": []}]}]
    assert ours["alerting"]["alert_relabel_configs"] == theirs["alerting"]["alert_relabel_configs"]
    assert [Path(name).name for name in ours["rule_files"]] == theirs["rule_files"]
    for port, (mine, other) in enumerate(zip(ours["scrape_configs"], theirs["scrape_configs"], strict=True)):
        assert mine.pop("static_configs") == [{"targets": [f"127.0.0.1:{port}"]}]
        assert other.pop("static_configs", None) or other.pop("dns_sd_configs")
        assert mine == other


def test_a_job_without_an_address_is_left_out_and_an_unknown_one_is_an_error() -> None:
    jobs = yaml.safe_load(configuration({"memq": ["127.0.0.1:1"]}, "1s"))["scrape_configs"]
    assert [job["job_name"] for job in jobs] == ["memq"]
    with pytest.raises(ValueError, match=r"prometheus\.yml has no job mem"):
        configuration({"mem": []}, "1s")


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str, str], None]:
    def make(name: str, script: str) -> None:
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return make


def machine(path: Path, *, root: bool) -> Machine:
    return Machine(environ={"PATH": str(path)}, servers=(), daemons=(), root=root)


def test_without_prometheus_the_reason_names_the_command(tmp_path: Path, fake: Callable[[str, str], None]) -> None:
    with pytest.raises(NoPrometheus, match="no apt-get"):
        found(machine(tmp_path, root=True))
    fake("apt-get", "exit 1")
    with pytest.raises(NoPrometheus, match="apt-get install -y --no-install-recommends prometheus"):
        found(machine(tmp_path, root=False))
    with pytest.raises(NoPrometheus, match="not both on this machine"):
        found(machine(tmp_path, root=True), install=False)


def test_root_has_it_installed_without_its_service(
    tmp_path: Path, fake: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr("stack.package.POLICY", policy)
    said = tmp_path / "said"
    # Without a PATH to speak of: the shell's own words, and the policy's answer as the packages see it.
    fake(
        "apt-get",
        f'{policy} >/dev/null; echo "$* policy=$?" >> {said}\n'
        f'for name in prometheus promtool; do echo "#!/bin/sh" >{tmp_path}/$name; /bin/chmod +x {tmp_path}/$name; done',
    )
    programs = found(machine(tmp_path, root=True))
    assert programs.promtool == tmp_path / "promtool"
    update, install = said.read_text().splitlines()
    assert update.endswith("update policy=101")
    assert install.endswith("install -y --no-install-recommends prometheus policy=101")
    assert not policy.exists()
    assert "installing it: apt-get update && apt-get install" in capfd.readouterr().err
