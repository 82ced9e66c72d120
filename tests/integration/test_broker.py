from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import aio_pika
import pytest

from stack import package
from stack.broker import Broker, NoBroker, choose, found, given
from stack.broker import broker as open_broker
from stack.container import engine_answers
from stack.machine import Machine
from stack.ports import free_ports
from tests.support.broker import Address, depth, take

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


pytestmark = pytest.mark.integration


async def test_a_test_has_an_address_of_its_own(amqp: Address) -> None:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("letters", durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(aio_pika.Message(b"a"), "letters")
    assert await depth(amqp, "letters") == 1
    assert [message.body for message in await take(amqp, "letters")] == [b"a"]
    assert await depth(amqp, "letters") == 0


async def test_the_next_test_does_not_see_it(amqp: Address) -> None:
    with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
        await depth(amqp, "letters")


async def test_the_given_url_wins(broker: Broker) -> None:
    machine = Machine(environ={**os.environ, "MEMQ_AMQP_URL": broker.amqp_url})
    with found(machine) as same:
        assert same.amqp_url == broker.amqp_url
        assert same.management_url is None
        assert "MEMQ_AMQP_URL" in same.how
        assert "@" not in same.how


async def test_the_async_form_gives_the_same(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMQ_AMQP_URL", broker.amqp_url)
    monkeypatch.setenv("MEMQ_MANAGEMENT_URL", "http://127.0.0.1:1/")
    async with open_broker() as same:
        assert (same.amqp_url, same.management_url) == (broker.amqp_url, "http://127.0.0.1:1")


async def test_a_given_url_where_nothing_answers_is_an_error_without_the_password() -> None:
    port = free_ports(1)[0]
    with pytest.raises(NoBroker, match=f"127.0.0.1:{port}") as error:
        given(Machine(environ={}), f"amqp://someone:secret@127.0.0.1:{port}/")
    assert "secret" not in str(error.value)


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str, str], Path]:
    """Put a program of this name, a shell script, on the PATH of `machine`."""

    def make(name: str, script: str = "exit 0") -> Path:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(environ={"PATH": str(tmp_path / "bin")}, servers=(), daemons=(), root=False)


def test_a_tree_without_a_broker_names_the_script_that_makes_one(machine: Machine, tmp_path: Path) -> None:
    chosen = replace(machine, environ={**machine.environ, "MEMQ_BROKER_ROOT": str(tmp_path)})
    with pytest.raises(NoBroker, match=r"MEMQ_BROKER_ROOT: .*scripts/brokers"):
        choose(chosen)


def test_an_installed_server_comes_before_docker(machine: Machine, fake: Callable[[str, str], Path]) -> None:
    server = fake("rabbitmq-server", "exit 0")
    fake("docker", "echo 28.0")
    _, how = choose(machine)
    assert how == f"private node of {server.resolve()}"


def test_docker_comes_before_the_package_manager(machine: Machine, fake: Callable[[str, str], Path]) -> None:
    fake("docker", "echo 28.0")
    fake("apt-get", "exit 1")
    _, how = choose(machine)
    assert how.startswith("Docker, rabbitmq:")


def test_a_docker_client_without_an_engine_is_passed_over(machine: Machine, fake: Callable[[str, str], Path]) -> None:
    docker = fake("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    assert not engine_answers(machine, docker)
    with pytest.raises(NoBroker, match="no engine answers"):
        choose(machine)


def test_a_server_too_old_for_memq_is_passed_over(
    machine: Machine, fake: Callable[[str, str], Path], tmp_path: Path
) -> None:
    real = tmp_path / "rabbitmq_server-3.9.13" / "sbin" / "rabbitmq-server"
    real.parent.mkdir(parents=True)
    fake("placeholder", "exit 0").rename(real)
    (tmp_path / "bin" / "rabbitmq-server").symlink_to(real)
    with pytest.raises(NoBroker, match=r"is RabbitMQ 3\.9, memq needs 3\.10 or newer"):
        choose(machine)


def test_with_nothing_there_the_error_names_the_command(machine: Machine, fake: Callable[[str, str], Path]) -> None:
    fake("apt-get", "exit 1")
    with pytest.raises(NoBroker) as error:
        choose(machine)
    assert "rabbitmq-server is not installed" in str(error.value)
    assert f"sudo sh -c '{package.COMMAND}'" in str(error.value)
    assert "MEMQ_AMQP_URL" in str(error.value)


def test_without_a_package_manager_the_error_offers_the_url_alone(machine: Machine) -> None:
    with pytest.raises(NoBroker) as error:
        choose(machine)
    assert "apt-get" not in str(error.value)
    assert "MEMQ_AMQP_URL" in str(error.value)


def test_root_has_it_installed(
    machine: Machine,
    fake: Callable[[str, str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(package, "POLICY", policy)
    seen = tmp_path / "seen"
    fake(
        "apt-get",
        f'echo "$DEBIAN_FRONTEND $1 $({policy}; echo $?)" >> {seen}\n'
        f"test $1 = update || {{ echo '#!/bin/sh' > {tmp_path}/bin/rabbitmq-server; /bin/chmod +x {tmp_path}/bin/*; }}",
    )
    _, how = choose(Machine(environ=machine.environ, servers=(), daemons=(), root=True))
    assert how == f"private node of {tmp_path}/bin/rabbitmq-server"
    # 101 is how a machine's policy keeps the packages from starting their services.
    assert seen.read_text().splitlines() == ["noninteractive update 101", "noninteractive install 101"]
    assert not policy.exists()
    assert package.COMMAND in capfd.readouterr().err


def test_a_failed_install_says_what_apt_said(
    machine: Machine, fake: Callable[[str, str], Path], tmp_path: Path
) -> None:
    fake("apt-get", "echo 'E: Unable to locate package' >&2; exit 100")
    with pytest.raises(package.PackageError, match="apt-get update failed:\nE: Unable to locate package"):
        package.install(machine, tmp_path / "bin" / "apt-get")


def test_an_install_waits_for_another_ones_lock(
    machine: Machine,
    fake: Callable[[str, str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(package, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(package, "RETRY_SECONDS", 0.0)
    calls = tmp_path / "calls"
    fake(
        "apt-get",
        f"echo $1 >> {calls}\n"
        f"case $(/usr/bin/wc -l < {calls}) in\n"
        "1) echo 'E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt)' >&2; exit 100;;\n"
        "3) echo 'E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend)' >&2; exit 100;;\n"
        "esac",
    )
    package.install(machine, tmp_path / "bin" / "apt-get")
    assert calls.read_text().split() == ["update", "update", "install", "install"]
    assert capfd.readouterr().err.count("waiting") == 2
