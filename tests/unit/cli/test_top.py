"""`stead top` makes rates of two looks, and leaves out what it cannot know."""

import io
import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from stead_cli import top
from stead_cli.__main__ import cli
from stead_cli.settings import Settings
from stead_proto.v1 import host_pb2
from stead_proto.v1 import operator_pb2 as pb

SECOND = 1_000_000_000
MIB = 1 << 20


def counted(at: int, number: int) -> dict[str, int]:
    """Counters that have all grown by so much."""
    names = ("read_bytes", "written_bytes", "received_bytes", "sent_bytes")
    return {"at": at * SECOND, "cpu_time": number * SECOND // 10, **dict.fromkeys(names, number * MIB)}


def machine(name: str, at: int, number: int, process: str = "1.1", memory: int = 64) -> host_pb2.MachineActivity:
    return host_pb2.MachineActivity(machine_id=name, process=process, memory_used=memory * MIB, **counted(at, number))


def host(at: int, number: int, *machines: host_pb2.MachineActivity, **changes: Any) -> pb.MeasuredHost:
    activity = host_pb2.Activity(
        cpus=4, memory=1000 * MIB, memory_used=250 * MIB, machines=machines, **counted(at, number)
    )
    known = [
        pb.MeasuredInstance(
            instance_id=one.machine_id, account_id="111111111111", instance_type="t3.micro", vcpus=2, memory=128 * MIB
        )
        for one in machines
        if one.machine_id != "i-unknown"
    ]
    values: dict[str, Any] = {"host_id": "h-1", "hostname": "one", "activity": activity, "instances": known}
    return pb.MeasuredHost(**values | changes)


def test_what_grew_between_two_looks_is_a_rate() -> None:
    before, after = host(10, 0, machine("i-1", 10, 5)), host(12, 40, machine("i-1", 14, 25))
    shown, guest = top.rows([before], [after], "cpu")
    assert (shown.kind, shown.name, shown.cpus, shown.memory, shown.memory_used) == (
        "host",
        "one",
        4,
        1000 * MIB,
        250 * MIB,
    )
    assert shown.cpu_percent == pytest.approx(50)  # 4 s of processors in 2 s, of 4
    assert (shown.read, shown.written, shown.received, shown.sent) == (20 * MIB,) * 4
    assert (guest.kind, guest.name, guest.host_id, guest.account_id) == ("instance", "i-1", "h-1", "111111111111")
    assert guest.cpu_percent == pytest.approx(25)  # 2 s in 4 s, of 2
    assert (guest.read, guest.written, guest.received, guest.sent) == (5 * MIB,) * 4
    assert (guest.memory, guest.memory_used) == (128 * MIB, 64 * MIB)


def test_what_began_since_has_no_rate() -> None:
    before = [host(10, 0, machine("i-1", 10, 5))]
    another, fresh = machine("i-1", 12, 7, process="2.9"), machine("i-2", 12, 7)
    _, *guests = top.rows(before, [host(12, 40, another, fresh)], "name")
    assert [(one.cpu_percent, one.read, one.memory_used) for one in guests] == [(None, None, 64 * MIB)] * 2
    rebooted, *_ = top.rows(before, [host(9, 3)], "cpu")
    assert (rebooted.cpu_percent, rebooted.read, rebooted.memory_used) == (None, None, 250 * MIB)
    same, *_ = top.rows(before, before, "cpu")
    assert same.cpu_percent is None
    unknown, *_ = top.rows([], [host(12, 40)], "cpu")
    assert unknown.read is None


def test_a_device_that_went_does_not_make_a_rate_negative() -> None:
    found, *_ = top.rows([host(10, 50)], [host(12, 40)], "cpu")
    assert (found.cpu_percent, found.read) == (0, 0)


def test_a_host_that_does_not_answer_says_why() -> None:
    silent = pb.MeasuredHost(host_id="h-1", hostname="one", error="it is not up")
    assert top.rows([host(10, 0)], [silent], "cpu") == [top.Row("host", "one", "h-1", error="it is not up")]
    back, guest = top.rows([silent], [host(12, 40, machine("i-1", 12, 7))], "cpu")
    assert (back.cpu_percent, guest.cpu_percent) == (None, None)


def test_a_machine_that_the_cloud_does_not_know_is_shown_without_what_it_may_use() -> None:
    before, after = (host(at, 0, machine("i-unknown", at, at)) for at in (10, 12))
    _, guest = top.rows([before], [after], "cpu")
    assert (guest.account_id, guest.instance_type, guest.memory, guest.cpu_percent, guest.read) == (
        "",
        "",
        None,
        None,
        MIB,
    )


@pytest.mark.parametrize(
    ("sort", "first"), [("cpu", "i-3"), ("memory", "i-2"), ("disk", "i-3"), ("network", "i-3"), ("name", "i-1")]
)
def test_instances_are_ordered_as_asked(sort: str, first: str) -> None:
    before = host(10, 0, *(machine(name, 10, 0) for name in ("i-1", "i-2", "i-3")))
    after = host(12, 0, machine("i-1", 12, 1), machine("i-2", 12, 2, memory=99), machine("i-3", 12, 3))
    assert top.rows([before], [after], sort)[1].name == first


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked for; two looks differ by two seconds, and no time passes."""
    asked: list[str] = []

    class FakeOperator:
        def __init__(self, _settings: object) -> None:
            pass

        def measure_hosts(self, host_id: str) -> list[pb.MeasuredHost]:
            asked.append(host_id)
            number = len(asked)
            return [host(2 * number, 40 * number, machine("i-1", 2 * number, 2 * number))]

    monkeypatch.setattr(top, "Operator", FakeOperator)
    monkeypatch.setattr(top.time, "sleep", lambda _seconds: None)
    return asked


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["top", *arguments])


def test_lines_where_there_is_no_terminal(looks: list[str]) -> None:
    lines = call("--host", "h-1").stdout.splitlines()
    assert lines == [
        "NAME\tTYPE\tACCOUNT\tCPU\tMEMORY\tDISK READ\tDISK WRITTEN\tRECEIVED\tSENT",
        "one\thost, 4 threads\t-\t50.0 %\t250.0 MiB of 1000.0 MiB" + "\t20.0 MiB/s" * 4,
        "  i-1\tt3.micro\t111111111111\t5.0 %\t64.0 MiB of 128.0 MiB" + "\t1.0 MiB/s" * 4,
    ]
    assert looks == ["h-1", "h-1"]


def test_json_has_numbers(looks: list[str]) -> None:
    shown, guest = json.loads(call("--output", "json").stdout)
    assert (shown["kind"], shown["cpu_percent"], shown["memory"], shown["error"]) == ("host", 50.0, 1000 * MIB, "")
    assert (guest["name"], guest["sent"]) == ("i-1", MIB)
    assert looks == ["", ""]


def test_a_terminal_gets_a_table_that_is_renewed_until_ctrl_c(
    looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(_seconds: float) -> None:
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(top.time, "sleep", sleep)
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=150, height=5)
    top._show_live(top.Operator(Settings()), "", "cpu", 2.0, console)
    assert len(looks) == 3
    assert written.getvalue().count("t3.micro") == 3
    assert "50.0 %" in written.getvalue()
