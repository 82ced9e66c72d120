"""A tenants file, applied to the test's virtual host with users of the test's own."""

from __future__ import annotations

import os
import secrets
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from stack.amqp import management
from tests.support.worker import COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.broker import Address

SECONDS = 120


class Tenants:
    """The file and its passwords, in a directory; commands run as the installed `memq-worker`."""

    def __init__(self, amqp: Address, directory: Path, store_url: str) -> None:
        self.amqp = amqp
        self.path = directory / "tenants.toml"
        self.generation = 0
        self.seconds = SECONDS
        """Timeout of a command."""
        self._directory = directory
        self._run = secrets.token_hex(4)
        self._users: set[str] = set()
        self.settings: dict[str, Any] = {
            "amqp_url": amqp.url,
            "prefix": amqp.prefix,
            "management_url": amqp.management_url,
            "tenants_file": self.path,
            "qdrant_url": store_url,
        }

    def user(self, tenant: str, access: str = "write") -> str:
        """Name of the test's user with this access."""
        return f"{tenant}-{access}-{self._run}"

    def url(self, tenant: str, access: str = "write") -> str:
        """Address of the broker for that user."""
        parts = urlsplit(self.amqp.url)
        login = f"{self.user(tenant, access)}:{self.password(tenant)}"
        return parts._replace(netloc=f"{login}@{parts.hostname}:{parts.port}").geturl()

    def password(self, tenant: str) -> str:
        path = self._directory / f"{tenant}.password"
        if not path.exists():
            path.write_text(secrets.token_hex(8))
        return path.read_text()

    def write(self, *tenants: str, extra: str = "", tables: dict[str, str] | None = None) -> None:
        """Write the file with the next generation: each tenant has a user who may write and one who may read.

        extra: more tables.   tables: lines of a tenant's own table.
        """
        self.generation += 1
        lines = [f"generation = {self.generation}", extra]
        for name in tenants:
            self.password(name)
            lines += [f"[tenants.{name}]", (tables or {}).get(name, "")]
            for access in ("write", "read"):
                self._users.add(self.user(name, access))
                lines += [f"[tenants.{name}.users.{self.user(name, access)}]", f'access = "{access}"']
                lines += [f'password_file = "{name}.password"']
        beside = self.path.with_suffix(".new")
        beside.write_text("\n".join(lines) + "\n")
        beside.replace(self.path)

    @property
    def environ(self) -> dict[str, str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith("MEMQ_")}
        return others | {f"MEMQ_{name.upper()}": str(value) for name, value in self.settings.items()}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        line = [COMMAND, "tenants", *arguments]
        return subprocess.run(line, env=self.environ, capture_output=True, text=True, timeout=self.seconds, check=False)

    def ok(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        assert self._secret not in done.stdout + done.stderr
        return done.stdout

    @property
    def _secret(self) -> str:
        return next(iter(path.read_text() for path in self._directory.glob("*.password")), "\0")

    def api(self, method: str, path: str, body: object = None) -> Any:
        parts = urlsplit(self.amqp.url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return management(method, f"{self.amqp.management_url}/api/{path}", user, password, body)

    @contextmanager
    def worker_user(self, permissions: dict[str, str]) -> Iterator[str]:
        """Address of the broker for a user with these permissions, and none to configure."""
        name, password = f"worker-{self._run}", secrets.token_hex(8)
        self.api("PUT", f"users/{name}", {"password": password, "tags": ""})
        self._users.add(name)
        self.api("PUT", self.here("permissions", name), {"configure": "", **permissions})
        parts = urlsplit(self.amqp.url)
        yield parts._replace(netloc=f"{name}:{password}@{parts.hostname}:{parts.port}").geturl()

    def here(self, kind: str, *names: str) -> str:
        return "/".join([kind, quote(self.amqp.vhost, safe=""), *(quote(name, safe="") for name in names)])

    def forget(self) -> None:
        """Delete the users: a virtual host takes everything else along."""
        known = {each["name"] for each in self.api("GET", "users")}
        for user in self._users & known:
            self.api("DELETE", f"users/{user}")


@contextmanager
def tenants_of(amqp: Address, directory: Path, store_url: str) -> Iterator[Tenants]:
    """Tenants on a virtual host that has memq's topology."""
    made = Tenants(amqp, directory, store_url)
    declared = subprocess.run(
        [COMMAND, "declare"],
        env=made.environ | {"MEMQ_TENANTS_FILE": ""},
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert declared.returncode == 0, declared.stderr
    try:
        yield made
    finally:
        made.forget()
