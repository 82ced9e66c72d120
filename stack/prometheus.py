"""A private Prometheus on 127.0.0.1 with the rules and jobs of `prometheus/`, scraping the addresses it is given."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from stack import package
from stack.machine import Machine
from stack.ports import free_ports
from stack.process import Process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from numpy.typing import NDArray

CONFIGURATION = Path(__file__).resolve().parent.parent / "prometheus" / "prometheus.yml"
HOST = "127.0.0.1"
ALERTMANAGER = "alertmanager"
READY = "-/ready"
READY_SECONDS = 60.0
ANSWER_SECONDS = 20.0
TRIES = 4
_PLACES = ("static_configs", "dns_sd_configs")
# A parallel run may take our port between the choice and the bind.
TAKEN = "address already in use"

# No proxy: a developer's http_proxy has no business with loopback.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NoPrometheus(RuntimeError):
    """Prometheus is not to be had; the message says which command would help."""


class QueryRefused(ValueError):
    """Prometheus could not make sense of a query; the message is its own."""


@dataclass(frozen=True, slots=True)
class Programs:
    prometheus: Path
    promtool: Path


@dataclass(frozen=True, slots=True)
class Series:
    labels: dict[str, str]
    value: float


def found(machine: Machine | None = None, *, install: bool = True) -> Programs:
    """The programs of this machine, else those that apt-get can install for root. Raises NoPrometheus."""
    machine = machine or Machine()
    if programs := _installed(machine):
        return programs
    apt = machine.which("apt-get")
    if install and apt and machine.root:
        try:
            package.install(machine, apt, package.PROMETHEUS)
        except package.PackageError as error:
            raise NoPrometheus(f"no Prometheus: {error}") from error
        if programs := _installed(machine):
            return programs
    advice = f". Run\n    sudo sh -c '{package.PROMETHEUS.command}'" if apt else ", and no apt-get to install them"
    raise NoPrometheus(f"no Prometheus: prometheus and promtool are not both on this machine{advice}")


def _installed(machine: Machine) -> Programs | None:
    prometheus, promtool = machine.which("prometheus"), machine.which("promtool")
    return Programs(prometheus, promtool) if prometheus and promtool else None


def configuration(targets: Mapping[str, Sequence[str]], interval: str, source: Path = CONFIGURATION) -> str:
    """prometheus.yml with other addresses, by job. A job that `targets` does not name is left out.

    Raises ValueError for a job that prometheus.yml does not have.
    """
    document = yaml.safe_load(source.read_text("utf-8"))
    document["global"] |= dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), interval)
    document["rule_files"] = [str(source.parent / name) for name in ("recording.yml", "alerts.yml")]
    document["alerting"]["alertmanagers"] = [_static(targets.get(ALERTMANAGER, ()))]
    by_name = {job["job_name"]: job for job in document["scrape_configs"]}
    if unknown := targets.keys() - by_name.keys() - {ALERTMANAGER}:
        raise ValueError(f"{source.name} has no job {', '.join(sorted(unknown))}")
    document["scrape_configs"] = [_elsewhere(job, targets[name]) for name, job in by_name.items() if name in targets]
    return yaml.safe_dump(document, sort_keys=False)


def _elsewhere(job: dict[str, Any], places: Sequence[str]) -> dict[str, Any]:
    """A scrape job with other targets."""
    return {name: value for name, value in job.items() if name not in _PLACES} | _static(places)


def _static(places: Sequence[str]) -> dict[str, Any]:
    return {"static_configs": [{"targets": list(places)}]}


@dataclass(frozen=True, slots=True)
class Curve:
    """A series over time.

    times: seconds since the end of the asked range, 0 or less, in equal steps.   values: NaN where there is none.
    """

    labels: dict[str, str]
    times: NDArray[np.float64]
    values: NDArray[np.float64]


class Prometheus:
    """Runs from the moment it is made; `home` gets its configuration, its data and its log. `options` are its flags."""

    def __init__(
        self,
        program: Path,
        home: Path,
        targets: Mapping[str, Sequence[str]],
        interval: str = "1s",
        source: Path = CONFIGURATION,
        *options: str,
    ) -> None:
        self.address = f"{HOST}:{free_ports(1)[0]}"
        self.log = home / "prometheus.log"
        self.log.unlink(missing_ok=True)
        config = home / "prometheus.yml"
        config.write_text(configuration({**targets, "prometheus": [self.address]}, interval, source), "utf-8")
        self._process = Process(
            [
                str(program),
                f"--config.file={config}",
                f"--storage.tsdb.path={home / 'prometheus'}",
                f"--web.listen-address={self.address}",
                "--log.level=warn",
                *options,
            ],
            log=self.log,
        )

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    async def addresses(self) -> list[tuple[str, str]]:
        """Where a person looks. Debian has the pages of Prometheus 2 below /classic, and those of 3 not at all."""
        found = [("Prometheus", self.url)]
        for name in ("alerts", "targets"):
            for path in (name, f"classic/{name}"):
                if await asyncio.to_thread(self._answers, path):
                    found.append((f"  {name}", f"{self.url}/{path}"))
                    break
        return found

    async def ready(self) -> None:
        """Returns when it answers. Raises NoPrometheus."""
        deadline = time.monotonic() + READY_SECONDS
        while not await asyncio.to_thread(self._answers, READY):
            if not self._process.running:
                raise NoPrometheus(f"Prometheus ended while starting:\n{self._process.tail()}")
            if time.monotonic() > deadline:
                raise NoPrometheus(f"Prometheus was not ready after {READY_SECONDS:.0f} s:\n{self._process.tail()}")
            await asyncio.sleep(0.05)

    async def query(self, expression: str) -> list[Series]:
        """The value now of every series that the expression has. Raises QueryRefused."""
        data = await asyncio.to_thread(self._ask, "query", query=expression)
        if data["resultType"] == "scalar":
            return [Series({}, float(data["result"][1]))]
        return [Series(each["metric"], float(each["value"][1])) for each in data["result"]]

    async def over(self, expression: str, end: float, span: float, step: float) -> list[Curve]:
        """Return every series of the expression in the `span` seconds before `end`. Raises QueryRefused."""
        asked = {"query": expression, "start": f"{end - span:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        data = await asyncio.to_thread(self._ask, "query_range", **asked)
        times = np.linspace(-span, 0.0, round(span / step) + 1)
        curves: list[Curve] = []
        for each in data["result"]:
            values = np.full(len(times), np.nan)
            for moment, value in each["values"]:
                values[round((moment - end + span) / step)] = float(value)
            curves.append(Curve(each["metric"], times, values))
        return curves

    async def metrics(self) -> set[str]:
        """The name of every metric that it has, recorded ones among them."""
        return set(await asyncio.to_thread(self._ask, "label/__name__/values"))

    async def rules(self) -> list[dict[str, Any]]:
        """Every rule as Prometheus has read it: `type`, `name`, `query`, `health`, and for alerts `annotations` …"""
        data = await asyncio.to_thread(self._ask, "rules")
        return [rule for group in data["groups"] for rule in group["rules"]]

    def stop(self) -> None:
        self._process.stop(5.0)

    def _answers(self, path: str) -> bool:
        try:
            with _http.open(f"{self.url}/{path}", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def _ask(self, what: str, **parameters: str) -> Any:
        url = f"{self.url}/api/v1/{what}"
        if parameters:
            url += f"?{urllib.parse.urlencode(parameters)}"
        try:
            with _http.open(url, timeout=ANSWER_SECONDS) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise QueryRefused(f"{parameters}: {json.load(error).get('error')}") from error


@asynccontextmanager
async def prometheus(
    programs: Programs, home: Path, targets: Mapping[str, Sequence[str]], interval: str = "1s"
) -> AsyncIterator[Prometheus]:
    """One that answers, for as long as the block runs. Raises NoPrometheus.

    `targets`: host:port by job of prometheus.yml; the job `prometheus` is filled in.
    """
    server = await _started(programs, home, targets, interval)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


async def _started(programs: Programs, home: Path, targets: Mapping[str, Sequence[str]], interval: str) -> Prometheus:
    for attempt in range(1, TRIES + 1):
        server = Prometheus(programs.prometheus, home, targets, interval)
        try:
            await server.ready()
        except BaseException as error:
            await asyncio.to_thread(server.stop)
            if attempt == TRIES or not isinstance(error, NoPrometheus) or TAKEN not in str(error):
                raise
        else:
            return server
    raise AssertionError("unreachable")
