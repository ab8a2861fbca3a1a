"""`stead top`: what hosts and instances do now: processors, memory, disks, network."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import click

from stead_cli import settings
from stead_cli.operator import Operator
from stead_cli.output import bytes_text, output_option, show_json, show_rows
from stead_proto.v1 import operator_pb2 as pb

if TYPE_CHECKING:
    from rich.console import Console

_COLUMNS: Final = ("name", "type", "account", "cpu", "memory", "disk_read", "disk_written", "received", "sent")
_SORTS: Final = ("cpu", "memory", "disk", "network", "name")
_NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """A host, or an instance of one: processors in percent of its own, memory in bytes, all else in bytes a second.

    A number is None where it is not known: of what has just begun, or of a host that does not answer, whose `error`
    says why.
    """

    kind: str  # host or instance
    name: str
    host_id: str
    account_id: str = ""
    instance_type: str = ""
    cpus: int = 0
    cpu_percent: float | None = None
    memory: int | None = None
    memory_used: int | None = None
    read: float | None = None
    written: float | None = None
    received: float | None = None
    sent: float | None = None
    error: str = ""


class Counters(Protocol):
    """What hosts and machines have counted, alike."""

    at: int
    cpu_time: int
    read_bytes: int
    written_bytes: int
    received_bytes: int
    sent_bytes: int


@click.command()
@click.option("--host", "host_id", default="", help="Only this host.")
@click.option("--sort", type=click.Choice(_SORTS), default="cpu", show_default=True, help="Order of the instances.")
@click.option("--seconds", type=click.FloatRange(0.5, 60), default=2.0, show_default=True, help="Between two looks.")
@click.option("--once", is_flag=True, help="Show it once, also on a terminal.")
@output_option
def top(host_id: str, sort: str, seconds: float, output: str, *, once: bool) -> None:
    """Show what hosts and instances do, again and again on a terminal until Ctrl-C, else once."""
    operator = Operator(settings.load())
    if once or output == "json" or not sys.stdout.isatty():
        before = operator.measure_hosts(host_id)
        time.sleep(seconds)
        found = rows(before, operator.measure_hosts(host_id), sort)
        if output == "json":
            show_json([asdict(row) for row in found])
        else:
            show_rows([_cells(row) for row in found], _COLUMNS, output, empty="no hosts")
        return
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second, needed only on a terminal

    _show_live(operator, host_id, sort, seconds, Console())


def rows(before: Sequence[pb.MeasuredHost], after: Sequence[pb.MeasuredHost], sort: str) -> list[Row]:
    """Each host with its instances below it, in the order that is asked for; what is growing is what grew."""
    earlier = {host.host_id: host for host in before}
    found = []
    for host in after:
        found.append(_of_host(earlier.get(host.host_id), host))
        found += sorted(_of_machines(earlier.get(host.host_id), host), key=lambda row: (_rank(row, sort), row.name))
    return found


def _of_host(before: pb.MeasuredHost | None, host: pb.MeasuredHost) -> Row:
    if host.error:
        return Row("host", host.hostname, host.host_id, error=host.error)
    now = host.activity
    then = before.activity if before is not None and not before.error else None
    return Row(
        "host",
        host.hostname,
        host.host_id,
        cpus=now.cpus,
        memory=now.memory,
        memory_used=now.memory_used,
        **_rates(then, now, now.cpus),
    )


def _of_machines(before: pb.MeasuredHost | None, host: pb.MeasuredHost) -> Iterator[Row]:
    known = {one.instance_id: one for one in host.instances}
    earlier = {one.machine_id: one for one in before.activity.machines} if before is not None else {}
    for now in host.activity.machines:
        then = earlier.get(now.machine_id)
        if then is not None and then.process != now.process:
            then = None  # it was started since
        instance = known.get(now.machine_id, pb.MeasuredInstance())
        yield Row(
            "instance",
            now.machine_id,
            host.host_id,
            instance.account_id,
            instance.instance_type,
            cpus=instance.vcpus,
            memory=instance.memory or None,
            memory_used=now.memory_used,
            **_rates(then, now, instance.vcpus),
        )


def _rates(then: Counters | None, now: Counters, cpus: int) -> dict[str, Any]:
    """What grew in each second between two looks; nothing where they are of two boots, or the same."""
    if then is None or then.at >= now.at:
        return {}
    seconds = (now.at - then.at) / _NANOSECONDS

    def each_second(first: int, second: int) -> float:
        return max(0.0, (second - first) / seconds)

    used = each_second(then.cpu_time, now.cpu_time) / _NANOSECONDS
    return {
        "cpu_percent": 100 * used / cpus if cpus else None,
        "read": each_second(then.read_bytes, now.read_bytes),
        "written": each_second(then.written_bytes, now.written_bytes),
        "received": each_second(then.received_bytes, now.received_bytes),
        "sent": each_second(then.sent_bytes, now.sent_bytes),
    }


def _rank(row: Row, sort: str) -> float:
    numbers: dict[str, list[float | None]] = {
        "cpu": [row.cpu_percent],
        "memory": [row.memory_used],
        "disk": [row.read, row.written],
        "network": [row.received, row.sent],
    }
    return -sum(number or 0.0 for number in numbers.get(sort, ()))


def _cells(row: Row) -> dict[str, str]:
    used = "" if row.memory_used is None else bytes_text(row.memory_used)
    whole = "" if row.memory is None else f" of {bytes_text(row.memory)}"
    return {
        "name": row.name if row.kind == "host" else f"  {row.name}",
        "type": row.instance_type if row.kind == "instance" else (row.error or f"host, {row.cpus} threads"),
        "account": row.account_id,
        "cpu": "" if row.cpu_percent is None else f"{row.cpu_percent:.1f} %",
        "memory": used + whole,
        **{
            name: "" if rate is None else f"{bytes_text(rate)}/s"
            for name, rate in (
                ("disk_read", row.read),
                ("disk_written", row.written),
                ("received", row.received),
                ("sent", row.sent),
            )
        },
    }


def _show_live(operator: Operator, host_id: str, sort: str, seconds: float, console: "Console") -> None:
    """Show a table that is renewed, until Ctrl-C."""
    from rich.live import Live  # noqa: PLC0415 - see top
    from rich.table import Table  # noqa: PLC0415 - as above

    def table(found: Sequence[Row]) -> Table:
        made = Table(box=None, header_style="bold", pad_edge=False)
        for column in _COLUMNS:
            made.add_column(
                column.replace("_", " ").upper(), no_wrap=True, justify="left" if column in _COLUMNS[:3] else "right"
            )
        for row in found:
            made.add_row(*(_cells(row)[column] for column in _COLUMNS), style="bold" if row.kind == "host" else "")
        return made

    before = operator.measure_hosts(host_id)
    with Live(table(rows(before, before, sort)), console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(seconds)
                after = operator.measure_hosts(host_id)
                live.update(table(rows(before, after, sort)[: max(1, console.height - 1)]), refresh=True)
                before = after
        except KeyboardInterrupt:
            return
