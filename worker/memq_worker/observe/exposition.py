import itertools
import platform
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString  # pyright: ignore[reportUnknownVariableType]

from memq_worker.observe.catalogue import CATALOGUE, LAG, PLACES, READY, Instrument
from memq_worker.observe.member import Member

# Of queues that nobody has looked at for longer, as while RabbitMQ is away, nothing is said.
_STALE_SECONDS = 60.0


class Exposition(Collector):
    """The metrics of a pool, all its workers in one page, each with its place as label `worker`.

    Everything is read from the workers' slots and from /proc, so that a worker that hangs cannot hold up a scrape.
    """

    def __init__(self, members: Sequence[Member], address: Mapping[str, str]) -> None:
        """`address` has the labels `vhost` and `prefix`: where on a broker this pool's queues are."""
        self._members = members
        self._address = address
        self._cpu = {member.number: _Cpu() for member in members}
        self._processes = threading.Lock()
        self._build = [version("memq"), platform.python_version()]

    def collect(self) -> Iterator[Metric]:
        for instrument in CATALOGUE:
            family = _family(instrument)
            if instrument.of_pool:
                _add_of_pool(family, instrument, self._members[0])
            else:
                for member in self._members:
                    _add(family, instrument, member, [str(member.number)])
            yield family
        build = GaugeMetricFamily("memq_build_info", "What is running", labels=["worker", "version", "python"])
        for member in self._members:
            build.add_metric([str(member.number), *self._build], 1)
        yield build
        yield from self._of_pool()
        yield from self.processes()

    def _of_pool(self) -> Iterable[Metric]:
        alive = sum(member.pid is not None for member in self._members)
        restarts = CounterMetricFamily(
            "memq_worker_restarts", "Workers that died and were started again", labels=["worker"]
        )
        for member in self._members:
            restarts.add_metric([str(member.number)], member.restarts)
        topology = GaugeMetricFamily(
            "memq_topology_info",
            "Virtual host and name prefix of the pool's queues; joins a pool with RabbitMQ's metrics",
            labels=list(self._address),
        )
        topology.add_metric(list(self._address.values()), 1)
        return (
            topology,
            GaugeMetricFamily("memq_workers", "Worker processes alive", value=alive),
            GaugeMetricFamily("memq_workers_expected", "Worker processes there should be", value=len(self._members)),
            restarts,
        )

    def processes(self) -> Iterable[Metric]:
        """CPU, memory and descriptors of each worker.

        To be asked now and then even if nobody scrapes: the CPU that a process has used cannot be read once it is dead.
        """
        cpu = CounterMetricFamily(
            "process_cpu_seconds", "Total user and system CPU time spent in seconds.", labels=["worker"]
        )
        families: dict[str, Metric] = {cpu.name: cpu}
        with self._processes:
            for member in self._members:
                worker = str(member.number)
                used = self._cpu[member.number]
                for family in _process(member.pid):
                    if family.name == cpu.name:
                        used.read(member.pid, family.samples[0].value)
                        continue
                    own = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                    own.samples += [Sample(sample.name, {"worker": worker}, sample.value) for sample in family.samples]
                cpu.add_metric([worker], used.seconds)
        return families.values()


class _Cpu:
    """CPU time of all the processes there have been in one place."""

    def __init__(self) -> None:
        self._pid: int | None = None
        self._before = self._last = 0.0

    @property
    def seconds(self) -> float:
        return self._before + self._last

    def read(self, pid: int | None, seconds: float) -> None:
        if pid != self._pid:
            self._pid = pid
            self._before += self._last
        self._last = seconds


def _process(pid: int | None) -> Iterable[Metric]:
    return [] if pid is None else ProcessCollector(pid=lambda: pid, registry=None).collect()


def _family(instrument: Instrument) -> Metric:
    labels = [*([] if instrument.of_pool else ["worker"]), *instrument.labels]
    match instrument.kind:
        case "counter":
            return CounterMetricFamily(instrument.name, instrument.help, labels=labels)
        case "gauge":
            return GaugeMetricFamily(instrument.name, instrument.help, labels=labels)
        case "histogram":
            return HistogramMetricFamily(instrument.name, instrument.help, labels=labels)


def _add_of_pool(family: Metric, instrument: Instrument, first: Member) -> None:
    age = first.slot.look_age_seconds
    if age is None or age < _STALE_SECONDS:
        _add(family, instrument, first, [])


def _add(family: Metric, instrument: Instrument, member: Member, own: list[str]) -> None:
    numbers = member.slot.numbers
    tenants = member.slot.tenants if instrument.by_tenant else {}
    for combination in instrument.combinations:
        at = PLACES[instrument.name, combination]
        labels = [*own, *combination]
        if instrument.by_tenant:
            # Tenants that there are; the others' series only once something was counted there.
            tenant, *more = combination
            if tenant not in tenants and not any(numbers[at : at + instrument.width]):
                continue
            labels = [*own, tenants.get(tenant, tenant), *more]
        if isinstance(family, HistogramMetricFamily):
            each = list(numbers[at : at + instrument.width])
            edges = [floatToGoString(edge) for edge in (*instrument.edges, float("inf"))]
            buckets = list(zip(edges, itertools.accumulate(each[:-1]), strict=True))
            family.add_metric(labels, buckets, each[-1])
        elif isinstance(family, CounterMetricFamily | GaugeMetricFamily):
            family.add_metric(labels, _seen(instrument, member, numbers[at]))


def _seen(instrument: Instrument, member: Member, number: float) -> float:
    """A loop that is stuck cannot say so itself."""
    stuck = member.stuck_seconds
    if stuck is not None and instrument is READY:
        return 0.0
    if stuck is not None and instrument is LAG:
        return max(number, stuck)
    return number
