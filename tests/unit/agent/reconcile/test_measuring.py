"""What is measured each minute, and what each five."""

from dataclasses import replace

import pytest

from stead_agent.credits.interface import Balance
from stead_agent.metrics.interface import Devices, DiskCounters, NicCounters, Reading, VolumeBalance
from stead_agent.reconcile.measuring import CloseMeasuring, Measured, Measuring, to_be_measured
from stead_agent.reconcile.metadata_uses import Asked
from stead_agent.wanted import Change, Wanted, key_of
from stead_proto.v1 import desired_pb2
from stead_proto.v1 import host_pb2 as pb
from tests.support import desired_states as make

MINUTE = 60_000
END = 1_795_893_600_000  # a multiple of five minutes
SECOND = 1_000_000_000


def reading(minute, *, per_minute=60, stores=False, process="1"):
    count = minute * per_minute
    disk, nic = DiskCounters(*[count] * 4, count * SECOND, count * SECOND), NicCounters(*[count] * 4)
    has = Devices({"vol-1": disk, "vol-2": disk}, {"vdb": disk} if stores else {}, {"tap1": nic})
    return Reading(process, 0, minute * 60 * SECOND, count * SECOND, has)


def values(message, name):
    found = [each for each in message.measured if each.id == name]
    return {
        each.at - END: {
            pb.Metric.Name(metric)[7:]: value for metric, value in zip(each.metrics, each.values, strict=True)
        }
        for each in found
        if len({other.at for other in found}) == len(found)
    } or [dict(zip(map(pb.Metric.Name, each.metrics), each.values, strict=True)) for each in found]


def run(measuring, machines, minutes, **has):
    """The messages of some minutes, of which the fifth ends at END."""
    made = []
    for minute in minutes:
        readings = {name: reading(minute, **has) for name in machines}
        made.append(measuring.note(machines, readings, END + (minute - 5) * MINUTE))
    return made


def test_a_detailed_machine_is_measured_each_minute_and_its_packets_each_five():
    messages = run(Measuring(lambda _: None), {"i-1": Measured(2, detailed=True)}, range(7))
    assert not messages[0].measured
    each_minute = {
        "PROCESSORS": 50.0, "RECEIVED_BYTES": 60, "SENT_BYTES": 60, "READ_BYTES": 120, "WRITTEN_BYTES": 120,
        "READS": 120, "WRITES": 120,
    }  # fmt: skip
    for minute in (1, 2, 3, 4, 6):
        assert values(messages[minute], "i-1") == {(minute - 6) * MINUTE: each_minute}
    packets = {"RECEIVED_PACKETS": 300, "SENT_PACKETS": 300}
    assert values(messages[5], "i-1") == {-MINUTE: each_minute, -5 * MINUTE: packets}


def test_requests_without_a_token_are_counted_in_the_machines_own_period():
    machines = {
        "i-1": Measured(1, detailed=True),
        "i-2": Measured(1, detailed=False),
        "i-3": Measured(1, detailed=True),
    }
    measuring = Measuring(lambda _: None)
    messages = []
    for minute in range(6):
        readings = {name: reading(minute) for name in machines}
        asked = {"i-1": Asked(minute, minute - 4 if minute == 5 else 0), "i-2": Asked(minute, 0), "i-4": Asked(1, 1)}
        messages.append(measuring.note(machines, readings, END + (minute - 5) * MINUTE, asked if minute else {}))
    assert values(messages[4], "i-1")[-2 * MINUTE]["METADATA_WITHOUT_TOKEN"] == 4
    assert "METADATA_REFUSED" not in values(messages[4], "i-1")[-2 * MINUTE]
    assert values(messages[5], "i-1")[-MINUTE]["METADATA_REFUSED"] == 1
    assert values(messages[5], "i-2")[0]["METRIC_METADATA_WITHOUT_TOKEN"] == 15
    assert "METADATA_WITHOUT_TOKEN" not in values(messages[5], "i-3")[-MINUTE]
    assert not any(each.id == "i-4" for message in messages for each in message.measured)
    again = measuring.note(machines, {"i-2": reading(10)}, END + 5 * MINUTE)
    assert "METADATA_WITHOUT_TOKEN" not in str(again)


def test_what_is_saved_for_volumes_is_shown_each_five_minutes():
    measuring = Measuring(lambda _: None)
    machines = {"i-1": Measured(1, detailed=True), "i-2": Measured(1, detailed=True)}
    for minute in range(1, 6):
        saved = replace(reading(minute), balance=VolumeBalance(100 - minute, 50.5))
        message = measuring.note(machines, {"i-1": saved, "i-2": reading(minute)}, END + (minute - 5) * MINUTE)
        shown = [pb.Metric.Name(metric) for each in message.measured for metric in each.metrics]
        assert ("METRIC_VOLUMES_BYTE_BALANCE" in shown) == (minute == 5)
    balances = {"VOLUMES_BYTE_BALANCE": 95, "VOLUMES_OPERATION_BALANCE": 50.5}
    assert balances.items() <= values(message, "i-1")[-5 * MINUTE].items()
    assert "VOLUMES_BYTE_BALANCE" not in values(message, "i-2")[-5 * MINUTE]


def test_any_other_each_five_minutes_and_volumes_each_minute():
    messages = run(Measuring(lambda _: None), {"i-1": Measured(1, detailed=False)}, range(11), stores=True)
    measured = [minute for minute, message in enumerate(messages) if "i-1" in {each.id for each in message.measured}]
    assert measured == [5, 10]
    whole = [each for each in messages[10].measured if each.id == "i-1"]
    assert [each.at for each in whole] == [END, END]
    found = {metric: value for each in whole for metric, value in zip(each.metrics, each.values, strict=True)}
    assert found[pb.METRIC_PROCESSORS] == 100
    assert found[pb.METRIC_RECEIVED_BYTES] == found[pb.METRIC_SENT_PACKETS] == found[pb.METRIC_STORE_READS] == 300
    assert found[pb.METRIC_WRITES] == 600
    of_volume = {"READ_BYTES": 60, "WRITTEN_BYTES": 60, "READS": 60, "WRITES": 60, "READ_SECONDS": 60, "WRITE_SECONDS": 60,
                 "QUEUE_LENGTH": 2}  # fmt: skip
    for minute in range(1, 11):
        assert values(messages[minute], "vol-2") == {(minute - 6) * MINUTE: of_volume}


def test_of_a_machine_that_is_measured_closely_processors_are_not_measured_twice():
    messages = run(Measuring(lambda _: None), {"i-1": Measured(1, detailed=True, closely=True)}, range(2))
    assert "RECEIVED_BYTES" in values(messages[1], "i-1")[-5 * MINUTE]
    assert "PROCESSORS" not in values(messages[1], "i-1")[-5 * MINUTE]


def test_processors_are_measured_closely_from_the_second_reading_on():
    measuring = CloseMeasuring()
    machines = {"i-1": Measured(2, detailed=False, closely=True)}

    def note(tens, used, process="1", names=machines):
        given = {"i-1": Reading(process, 0, tens * 10 * SECOND, used * SECOND, None)}
        return values(measuring.note(names, given, END + tens * 10_000), "i-1")

    assert note(1, 5) == []
    assert note(2, 15) == {10_000: {"PROCESSORS": 50.0}}
    assert note(3, 99) == {20_000: {"PROCESSORS": 100.0}}
    assert note(4, 100, names={}) == []
    assert note(5, 0, process="2") == []


def test_processors_are_never_more_than_all():
    messages = run(Measuring(lambda _: None), {"i-1": Measured(1, detailed=True)}, range(2), per_minute=61)
    assert values(messages[1], "i-1")[-5 * MINUTE]["PROCESSORS"] == 100


def test_credits_are_of_five_minutes():
    balances = iter([Balance(9_000, 0, 100, 0), Balance(8_000, 500, 1_600, 250), Balance(7_000, 0, 0, 0), None])
    measuring = Measuring(lambda _: next(balances))
    messages = run(measuring, {"i-1": Measured(1, detailed=False)}, range(16))
    found = []
    for minute in (0, 5, 10, 15):
        long = [each for each in messages[minute].measured if each.id == "i-1"][-1]
        named = dict(zip(map(pb.Metric.Name, long.metrics), long.values, strict=True))
        found.append({name[7:]: value for name, value in named.items() if "CREDITS" in name})
    assert found == [
        {"CREDITS": 9, "SURPLUS_CREDITS": 0},
        {"CREDITS": 8, "SURPLUS_CREDITS": 0.5, "CREDITS_SPENT": 1.5, "SURPLUS_CREDITS_CHARGED": 0.25},
        {"CREDITS": 7, "SURPLUS_CREDITS": 0},
        {},
    ]


def test_what_is_no_longer_to_run_is_not_measured():
    measuring = Measuring(lambda _: None)
    run(measuring, {"i-1": Measured(1, detailed=False)}, range(5))
    message = measuring.note({}, {}, END)
    assert not message.measured
    [_, after] = run(measuring, {"i-1": Measured(1, detailed=False)}, (9, 10))
    [_, packets] = [each for each in after.measured if each.id == "i-1"]
    assert list(packets.values) == [60, 60]  # it ran when it was not asked for, so it counts from minute 9 on


@pytest.mark.parametrize("power", [desired_pb2.POWER_RUNNING, desired_pb2.POWER_STOPPED])
def test_machines_that_are_to_run(power):
    machine = make.launch()[-1]
    machine.machine.power = power
    machine.machine.vcpus = 3
    machine.machine.metadata.monitoring = machine.machine.metadata.measured_closely = True
    wanted = Wanted()
    key = key_of(machine)
    wanted.install(
        Change(1, "e", full=True, put=(machine, make.host_network()), buried=(), unknown=(), unclaimed=frozenset())
    )
    expected = {key.id: Measured(3, detailed=True, closely=True)} if power == desired_pb2.POWER_RUNNING else {}
    assert to_be_measured(wanted) == expected
    assert to_be_measured(wanted, closely=True) == expected


def test_only_those_that_are_measured_closely_are_looked_at_each_ten_seconds():
    usual = make.machine("i-1", volumes=(), interfaces=())
    closely = make.machine("i-2", volumes=(), interfaces=())
    closely.machine.metadata.measured_closely = True
    wanted = Wanted()
    wanted.install(Change(1, "e", full=True, put=(usual, closely), buried=(), unknown=(), unclaimed=frozenset()))
    assert list(to_be_measured(wanted)) == ["i-1", "i-2"]
    assert list(to_be_measured(wanted, closely=True)) == ["i-2"]
