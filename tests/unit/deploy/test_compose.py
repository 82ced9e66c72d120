"""docker-compose.yml is valid, hardened, and agrees with what it names: images, files, settings, ports, commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import typer.main
import yaml

from memq_cli.app import app as memq
from memq_worker.cli import app as memq_worker
from memq_worker.environment import load
from memq_worker.settings import SECRETS, Settings, file_variable, variable
from stack import images
from stack.machine import Machine
from stack.ports import free_ports
from tests.support.git import git

if TYPE_CHECKING:
    from typer import Typer

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = ROOT / "docker-compose.yml"
TOOL = Path(sys.executable).with_name("check-jsonschema")
OURS = ["worker", "traffic", "load"]

DOCUMENT: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))
SERVICES: dict[str, Any] = DOCUMENT["services"]

everyone = pytest.mark.parametrize("name", SERVICES)


def seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+)s", text)
    assert found is not None
    return int(found[1])


def mounts(name: str) -> list[tuple[str, str]]:
    return [(source, target) for source, target, *_ in (line.split(":") for line in SERVICES[name].get("volumes", ()))]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """What scripts/secrets makes."""
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "secrets"
    shutil.copy(ROOT / "scripts" / "secrets", script)
    subprocess.run([script], capture_output=True, check=True)
    return tmp_path / "secrets"


def test_it_follows_the_specification_of_compose(tmp_path: Path) -> None:
    def checked(file: Path) -> subprocess.CompletedProcess[str]:
        line = [TOOL, "--builtin-schema", "vendor.compose-spec", file]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    done = checked(COMPOSE)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(COMPOSE.read_text("utf-8").replace("stop_grace_period:", "stop_grace:", 1))
    assert checked(wrong).returncode == 1, "the check can fail"


def test_compose_itself_accepts_it(made: Path) -> None:
    """With the real program where there is one; it needs no engine."""
    machine = Machine()
    program = machine.which("docker-compose") or machine.which("docker")
    line = [] if program is None else [program] if program.name == "docker-compose" else [program, "compose"]
    if program is None or machine.run(*line, "version", within=30).returncode:
        pytest.skip("no docker compose on this machine")
    place = made.parent
    shutil.copy(COMPOSE, place)
    arguments = ("--project-directory", str(place), "--file", str(place / COMPOSE.name), "--profile", "*")
    done = machine.run(*line, *arguments, "config", "--quiet", within=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_images_are_those_that_memq_is_tested_with() -> None:
    named = {name: SERVICES[name]["image"] for name in SERVICES if name not in OURS}
    assert named == {
        "rabbitmq": images.RABBITMQ,
        "qdrant": images.QDRANT,
        "prometheus": images.PROMETHEUS,
        "alertmanager": images.ALERTMANAGER,
        "grafana": images.GRAFANA,
    }
    assert all(re.search(r":v?\d+\.\d+\.\d+", image) for image in named.values())
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version is not None
    assert {SERVICES[name]["image"] for name in OURS} == {f"memq-worker:{version[1]}"}


def test_every_file_and_volume_is_there(made: Path) -> None:
    for name in SERVICES:
        for source, _ in mounts(name):
            assert (ROOT / source).exists() if source.startswith(".") else source in DOCUMENT["volumes"], source
    for service in SERVICES.values():
        for secret in service.get("secrets", ()):
            assert (secret if isinstance(secret, str) else secret["source"]) in DOCUMENT["secrets"]
    files = {Path(secret["file"]) for secret in DOCUMENT["secrets"].values()}
    assert {file.parent for file in files} == {Path("secrets")}
    assert {file.name for file in files} <= {file.name for file in made.iterdir()}
    assert git("check-ignore", "-q", "secrets/amqp_url").returncode == 0


def test_secrets_are_random_agree_and_stay(made: Path, tmp_path: Path) -> None:
    read = {file.name: file.read_text() for file in made.iterdir()}
    passwords = [read[name] for name in ("memq_password", "admin_password", "qdrant_api_key", "grafana_admin_password")]
    assert len(set(passwords)) == 4
    assert all(re.fullmatch(r"[0-9a-f]{48}", password) for password in passwords)
    assert urlsplit(read["amqp_url"].strip()).password == read["memq_password"]
    users = {user["name"]: user["password"] for user in json.loads(read["rabbitmq_users.json"])["users"]}
    assert users == {"memq": read["memq_password"], "admin": read["admin_password"]}
    assert yaml.safe_load(read["qdrant.yaml"]) == {"service": {"api_key": read["qdrant_api_key"]}}
    # Whoever runs in a container reads the files, which are mounted one by one; on the host the directory is shut.
    assert made.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o777 == 0o644 for file in made.iterdir())
    done = subprocess.run([tmp_path / "scripts" / "secrets"], capture_output=True, check=True, text=True)
    assert {file.name: file.read_text() for file in made.iterdir()} == read
    assert not any(password in done.stdout + done.stderr for password in passwords)


def test_every_variable_is_a_setting_and_every_value_is_one(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {variable(name) for name in Settings.model_fields} | {file_variable(name) for name in SECRETS}
    for name in OURS:
        environment = SERVICES[name]["environment"]
        assert environment.keys() <= known
        for key, value in environment.items():
            if key.endswith("_FILE"):
                secret = Path(value).name
                assert value == f"/run/secrets/{secret}"
                assert secret in SERVICES[name]["secrets"]
                monkeypatch.setenv(key, str(made / secret))
            else:
                monkeypatch.setenv(key, value)
        settings = load()
        assert settings.brokers[0].host == "rabbitmq"
    worker = {**SERVICES["worker"]["environment"]}
    assert seconds(SERVICES["worker"]["stop_grace_period"]) > int(worker["MEMQ_DRAIN_SECONDS"]) + 5
    assert urlsplit(worker["MEMQ_QDRANT_URL"]).hostname in SERVICES


def test_ports_are_those_that_the_configurations_say() -> None:
    environment = SERVICES["worker"]["environment"]
    assert SERVICES["worker"]["expose"] == [environment["MEMQ_METRICS_PORT"]]
    conf = (ROOT / "rabbitmq/rabbitmq.conf").read_text("utf-8")
    assert "management.tcp.port = 15672" in conf
    assert container_ports("rabbitmq") == {"5672", "15672"}
    assert urlsplit(environment["MEMQ_QDRANT_URL"]).port == 6334
    assert container_ports("qdrant") == {"6333", "6334"}
    text = (ROOT / "prometheus/prometheus.yml").read_text("utf-8")
    jobs = {job["job_name"]: job for job in yaml.safe_load(text)["scrape_configs"]}
    (discovered,) = jobs["memq"]["dns_sd_configs"]
    assert (discovered["names"], str(discovered["port"])) == (["worker"], environment["MEMQ_METRICS_PORT"])
    port = re.search(r"^prometheus\.tcp\.port = (\d+)$", conf, re.MULTILINE)
    assert port is not None
    assert targets(jobs["rabbitmq"]) == targets(jobs["rabbitmq-detailed"]) == [f"rabbitmq:{port[1]}"]
    assert targets(jobs["qdrant"]) == ["qdrant:6333"]
    key = Path(jobs["qdrant"]["authorization"]["credentials_file"])
    assert key.name in SERVICES["prometheus"]["secrets"]
    (source,) = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/memq.yml").read_text())["providers"]
    assert ("./grafana/dashboards", provider["options"]["path"]) in mounts("grafana")


def container_ports(name: str) -> set[str]:
    return {published.rpartition(":")[2] for published in SERVICES[name]["ports"]}


def targets(job: dict[str, Any]) -> list[str]:
    return [target for group in job["static_configs"] for target in group["targets"]]


@everyone
def test_a_service_is_bounded_and_open_to_this_machine_only(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert limits["memory"]
    assert limits["pids"]
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["stop_grace_period"]
    assert "container_name" not in service
    assert "privileged" not in service
    assert all(port.startswith("127.0.0.1:${MEMQ_") for port in service.get("ports", ()))
    assert "profiles" in service or "test" in service["healthcheck"]
    for other, condition in service.get("depends_on", {}).items():
        assert other in SERVICES
        assert condition["condition"] == "service_healthy"


@pytest.mark.parametrize("name", OURS)
def test_our_image_runs_with_nothing_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    uid, gid = map(int, service["user"].split(":"))
    assert min(uid, gid) >= 10_000
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["tmpfs"][0].startswith("/tmp:")
    assert "ports" not in service, "two replicas cannot have one port"
    assert not service.get("volumes")


def names(app: Typer) -> set[str]:
    """Return the names of its commands."""
    group: Any = typer.main.get_command(app)
    return set(group.commands)


def test_commands_are_ours() -> None:
    workers = names(memq_worker)
    program, *arguments = SERVICES["worker"]["healthcheck"]["test"][1:]
    line = [Path(sys.executable).with_name(program), *arguments, "--metrics-port", str(free_ports(1)[0])]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "does not answer" in done.stderr) == (1, True), done.stderr
    assert SERVICES["worker"]["command"][0] in workers
    for name in ("traffic", "load"):
        assert SERVICES[name]["entrypoint"] == ["memq", name]
        assert name in names(memq)
        assert SERVICES[name]["profiles"] == [name]


@pytest.mark.parametrize(("answer", "healthy"), [("200 OK", True), ("503 Service Unavailable", False), (None, False)])
def test_the_health_check_of_qdrant_needs_bash_alone(answer: str | None, healthy: bool) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash on this machine")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                asked = b""
                while not asked.endswith(b"\r\n\r\n"):
                    asked += connection.recv(4096)
                assert asked.startswith(b"GET /readyz HTTP/1.0\r\n")
                connection.sendall(f"HTTP/1.0 {answer}\r\n\r\nall shards are ready".encode())

        thread = threading.Thread(target=serve)
        if answer is None:
            server.close()
        else:
            thread.start()
        program, option, script = SERVICES["qdrant"]["healthcheck"]["test"][1:]
        assert (program, option) == ("bash", "-c")
        # Compose reads two dollars as one.
        line = [bash, "-c", script.replace("$$", "$").replace("/6333", f"/{port}")]
        done = subprocess.run(line, env={"PATH": os.defpath}, capture_output=True, timeout=30, check=False)
        if answer is not None:
            thread.join()
    assert (done.returncode == 0) is healthy
