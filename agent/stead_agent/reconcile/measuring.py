"""What is measured of all guests, once a minute, and of some each ten seconds: counters become messages.

The periods are those of the clock, as on EC2: a minute for volumes and for guests whose monitoring is detailed, five
for all others. Where a group scales by them, processors are measured each ten seconds instead. So that a thousand hosts
do not report in the same second, each reads its counters some seconds after the period's end, always the same number.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Final

from stead_agent.credits.interface import Balance
from stead_agent.metrics.growth import Growth, growth, together
from stead_agent.metrics.interface import DiskCounters, Reading
from stead_agent.reconcile.metadata_uses import Asked
from stead_agent.wanted import Wanted
from stead_proto.v1 import desired_pb2
from stead_proto.v1 import host_pb2 as pb

SECONDS: Final = 60.0
"""How long a period is; a long one is five of them."""
_LONG: Final = 5
CLOSE_SECONDS: Final = 10.0
"""How long a period is of machines whose processors are measured closely, for groups that scale by them."""
NOTHING_ASKED: Final[Mapping[str, Asked]] = MappingProxyType({})

type _Values = Iterator[tuple["pb.Metric.ValueType", float]]


@dataclass(frozen=True, slots=True)
class Measured:
    """A machine that is to run, as far as measuring is concerned."""

    vcpus: int
    detailed: bool
    closely: bool = False


def to_be_measured(wanted: Wanted, *, closely: bool = False) -> dict[str, Measured]:
    """Return the machines that are to run; with `closely` only those that are measured closely, often none."""
    machines = {key.id: resource.machine for key, resource in wanted.of_kind(desired_pb2.KIND_MACHINE).items()}
    if closely:  # asked each ten seconds
        machines = {name: machine for name, machine in machines.items() if machine.metadata.measured_closely}
    return {
        name: Measured(max(1, machine.vcpus), machine.metadata.monitoring, machine.metadata.measured_closely)
        for name, machine in machines.items()
        if machine.power == desired_pb2.POWER_RUNNING
    }


class Measuring:
    """The measurements of one host, period after period."""

    def __init__(self, balance: Callable[[str], Balance | None], *, seconds: float = SECONDS) -> None:
        """Know nothing yet; `balance` returns what a burstable machine has and owes."""
        self._balance = balance
        self._milliseconds = round(seconds * 1000)
        self._before: dict[str, Reading] = {}
        self._since: int | None = None
        self._long: dict[str, Growth] = {}  # since the last long period's end
        self._balances: dict[str, Balance] = {}
        self._long_asked: dict[str, Asked] = {}  # as `_long`

    def note(
        self,
        machines: Mapping[str, Measured],
        readings: Mapping[str, Reading],
        end: int,
        asked: Mapping[str, Asked] = NOTHING_ASKED,
    ) -> pb.Measurements:
        """Return what happened in the period that ended at `end`, Unix milliseconds, by the readings of just now.

        `asked` is what guests asked the metadata service in this period, of those of which it is known.
        """
        grown = {each: growth(self._before.get(each), self._since, reading) for each, reading in readings.items()}
        self._before = dict(readings)
        self._since = min((reading.at for reading in readings.values()), default=_now())
        for each, one in grown.items():
            self._long[each] = together(self._long.get(each, Growth()), one)
            if each in asked:
                self._long_asked[each] = self._long_asked.get(each, Asked()) + asked[each]
        message = pb.Measurements()
        start = end - self._milliseconds
        for each, one in grown.items():
            if each in machines and machines[each].detailed:
                values = chain(_of_machine(one, machines[each]), _of_metadata(asked.get(each)))
                _add(message, each, start, values)
            for volume_id, disk in one.volumes.items():
                _add(message, volume_id, start, _of_volume(disk, one.seconds))
        if end % (_LONG * self._milliseconds) == 0:
            self._add_long(message, machines, end - _LONG * self._milliseconds)
        return message

    def _add_long(self, message: pb.Measurements, machines: Mapping[str, Measured], start: int) -> None:
        for each, one in self._long.items():
            if each not in machines:
                continue
            if not machines[each].detailed:
                metadata = _of_metadata(self._long_asked.get(each))
                _add(message, each, start, chain(_of_machine(one, machines[each]), metadata))
            _add(message, each, start, self._only_long(each, one))
        self._long = {}
        self._long_asked = {}

    def _only_long(self, machine_id: str, grown: Growth) -> _Values:
        """Yield what EC2 has for periods of five minutes only."""
        if grown.devices:
            yield pb.METRIC_RECEIVED_PACKETS, grown.nics.received_packets
            yield pb.METRIC_SENT_PACKETS, grown.nics.sent_packets
        reading = self._before.get(machine_id)
        if reading is not None and reading.balance is not None:
            yield pb.METRIC_VOLUMES_BYTE_BALANCE, reading.balance.bytes
            yield pb.METRIC_VOLUMES_OPERATION_BALANCE, reading.balance.operations
        now, before = self._balance(machine_id), self._balances.pop(machine_id, None)
        if now is None:
            return
        self._balances[machine_id] = now
        yield pb.METRIC_CREDITS, now.credits / 1000
        yield pb.METRIC_SURPLUS_CREDITS, now.surplus / 1000
        if before is not None and now.spent >= before.spent and now.charged >= before.charged:
            yield pb.METRIC_CREDITS_SPENT, (now.spent - before.spent) / 1000
            yield pb.METRIC_SURPLUS_CREDITS_CHARGED, (now.charged - before.charged) / 1000


class CloseMeasuring:
    """The processors of those machines that are measured closely, period after period of ten seconds."""

    def __init__(self, *, seconds: float = CLOSE_SECONDS) -> None:
        """Know nothing yet."""
        self._milliseconds = round(seconds * 1000)
        self._before: dict[str, Reading] = {}
        self._since: int | None = None

    def note(self, machines: Mapping[str, Measured], readings: Mapping[str, Reading], end: int) -> pb.Measurements:
        """Return what happened in the period that ended at `end`, Unix milliseconds, by the readings of just now."""
        message = pb.Measurements()
        for each, reading in readings.items():
            grown = growth(self._before.get(each), self._since, reading)
            if each in machines:
                _add(message, each, end - self._milliseconds, _of_processors(grown, machines[each].vcpus))
        self._before = dict(readings)
        self._since = min((reading.at for reading in readings.values()), default=None)
        return message


def _of_processors(grown: Growth, vcpus: int) -> _Values:
    if grown.seconds > 0:
        yield pb.METRIC_PROCESSORS, min(100.0, grown.cpu_time / (1e7 * grown.seconds * vcpus))


def _of_machine(grown: Growth, machine: Measured) -> _Values:
    if not machine.closely:
        yield from _of_processors(grown, machine.vcpus)
    if not grown.devices:
        return
    yield pb.METRIC_RECEIVED_BYTES, grown.nics.received_bytes
    yield pb.METRIC_SENT_BYTES, grown.nics.sent_bytes
    every = DiskCounters(*(sum(numbers) for numbers in zip(*map(_counts, grown.volumes.values()), strict=True)))
    yield pb.METRIC_READ_BYTES, every.read_bytes
    yield pb.METRIC_WRITTEN_BYTES, every.written_bytes
    yield pb.METRIC_READS, every.reads
    yield pb.METRIC_WRITES, every.writes
    if grown.stores is not None:
        yield pb.METRIC_STORE_READ_BYTES, grown.stores.read_bytes
        yield pb.METRIC_STORE_WRITTEN_BYTES, grown.stores.written_bytes
        yield pb.METRIC_STORE_READS, grown.stores.reads
        yield pb.METRIC_STORE_WRITES, grown.stores.writes


def _of_metadata(asked: Asked | None) -> _Values:
    """Yield what was asked without a token; as on EC2, refusals are shown only where there were any."""
    if asked is None:
        return
    yield pb.METRIC_METADATA_WITHOUT_TOKEN, asked.answered
    if asked.refused:
        yield pb.METRIC_METADATA_REFUSED, asked.refused


def _of_volume(disk: DiskCounters, seconds: float) -> _Values:
    yield pb.METRIC_READ_BYTES, disk.read_bytes
    yield pb.METRIC_WRITTEN_BYTES, disk.written_bytes
    yield pb.METRIC_READS, disk.reads
    yield pb.METRIC_WRITES, disk.writes
    yield pb.METRIC_READ_SECONDS, disk.read_time / 1e9
    yield pb.METRIC_WRITE_SECONDS, disk.write_time / 1e9
    if seconds > 0:
        yield pb.METRIC_QUEUE_LENGTH, (disk.read_time + disk.write_time) / 1e9 / seconds


def _counts(disk: DiskCounters) -> tuple[int, int, int, int]:
    return disk.read_bytes, disk.written_bytes, disk.reads, disk.writes


def _add(message: pb.Measurements, subject: str, at: int, values: _Values) -> None:
    found = list(values)
    if found:
        message.measured.add(
            id=subject, at=at, metrics=[metric for metric, _ in found], values=[value for _, value in found]
        )


def _now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
