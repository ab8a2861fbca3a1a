"""The store before a real VictoriaMetrics: what is written is read as CloudWatch's statistics."""

import asyncio
import os
import re
import signal
import stat
import time
from pathlib import Path

import pytest

from stead_controller import clock
from stead_controller.metrics.build import open_store
from stead_controller.metrics.datum import Datum, Filter, Found, Identity, MetricsUnavailable, Wanted, single
from stead_controller.metrics.embedded import LOG_FILE, EmbeddedEngine
from stead_controller.settings import Settings as ControllerSettings
from tests.support import metrics
from tests.support.waiting import wait_for

NOW = int(time.time()) // 3600 * 3_600_000 - 7_200_000


def _metric(account: str, name: str = "M", **dimensions: str) -> Identity:
    return Identity(account, "My/App", name, tuple(sorted(dimensions.items())))


async def _points(store, identity, statistic, *, start=NOW, end=NOW + 120_000, period=60, unit=None):
    [found] = await store.read([Wanted(identity, statistic, start, end, period, unit)])
    return {one.unit: [((at - NOW) // 1000, value) for at, value in one.points] for one in found}


async def test_each_statistic_of_single_values_sets_and_values_with_counts(metrics_store):
    one = _metric("statistics")
    await metrics_store.write([
        *(single(one, NOW + 1000 * second, "Count", second) for second in range(60)),
        Datum(one, NOW + 60_000, "Count", 60, 10, 100, 2, 30),
        Datum(one, NOW + 61_000, "Count", 60, 5, 35, 5, 10, ((5, 3), (10, 2))),
        single(one, NOW + 119_999, "Count", 40),
        single(one, NOW + 120_000, "Count", 1000),  # of the next period
        single(one, NOW - 1, "Count", 1000),  # of the one before
    ])  # fmt: skip
    expected = {"Sum": (1770, 175), "SampleCount": (60, 16), "Average": (29.5, 175 / 16), "Minimum": (0, 2),
                "Maximum": (59, 40), "p50": (29.5, 7.5), "TC(6:)": (54, 3)}  # fmt: skip
    for statistic, (first, second) in expected.items():
        assert await _points(metrics_store, one, statistic) == {"Count": [(0, first), (60, pytest.approx(second))]}
    whole = await _points(metrics_store, one, "Sum", period=120)
    assert whole == {"Count": [(0, 1945)]}


async def test_metrics_are_counted_that_have_data_in_a_time(metrics_store):
    start, end = NOW + 7_200_000, NOW + 10_800_000
    await metrics_store.write([
        single(_metric("counted", "A"), start, "Count", 1),
        single(_metric("counted", "A"), start + 60_000, "Bytes", 1),
        single(_metric("counted", "B", Name="x"), end - 1, "Count", 1),
        Datum(_metric("counted", "C"), start + 5000, "Count", 60, 4, 10, 1, 4),
        single(_metric("counted", "D"), start - 1, "Count", 1),
        single(_metric("counted", "E"), end, "Count", 1),
        single(Identity("counted", "AWS/EC2", "F"), start, "Count", 1),
        single(_metric("counted-too"), start, "Count", 1),
    ])  # fmt: skip
    found = await metrics_store.count(start, end)
    assert {account: count for account, count in found.items() if account.startswith("counted")} == {
        "counted": 3,
        "counted-too": 1,
    }


async def test_a_set_alone_has_averages_but_no_percentiles(metrics_store):
    one = _metric("sets")
    await metrics_store.write([Datum(one, NOW, "Count", 60, 4, 10, 1, 4)])
    assert await _points(metrics_store, one, "Average") == {"Count": [(0, 2.5)]}
    assert await _points(metrics_store, one, "p90") == {}


async def test_what_is_written_again_counts_once_and_what_is_added_each_time(metrics_store):
    one, other = _metric("again"), _metric("again", "Other")
    for _ in range(3):
        await metrics_store.write([single(one, NOW, "Count", 5), Datum(one, NOW, "Bytes", 60, 2, 3, 1, 2)])
        await metrics_store.add([single(other, NOW, "Count", 5)] * 2)
    assert await _points(metrics_store, one, "Sum") == {"Bytes": [(0, 3)], "Count": [(0, 5)]}
    assert await _points(metrics_store, one, "Sum", unit="Bytes") == {"Bytes": [(0, 3)]}
    assert await _points(metrics_store, other, "SampleCount") == {"Count": [(0, 6)]}


async def test_what_several_sources_say_at_one_time_all_counts(metrics_store):
    one = Identity("3", "N", "of-a-group")
    some = [
        Datum(one, NOW, "Percent", 60, 1, 10, 10, 10, source="h-1"),
        Datum(one, NOW, "Percent", 60, 2, 80, 30, 50, source="h-2"),
    ]
    for _ in range(2):
        await metrics_store.write(some)
    expected = {"Average": 30, "Sum": 90, "Minimum": 10, "Maximum": 50, "SampleCount": 3}
    found = await metrics_store.read([Wanted(one, name, NOW, NOW + 60_000, 60) for name in (*expected, "p50")])
    assert found[:-1] == [[Found("Percent", ((NOW, value),))] for value in expected.values()]
    assert found[-1] == []
    assert await metrics_store.find(Filter("3", "N")) == [one]


async def test_many_questions_are_answered_in_their_order(metrics_store):
    made = [_metric("many", InstanceId=f"i-{number}") for number in range(7)]
    await metrics_store.write([single(one, NOW, "None", number) for number, one in enumerate(made)])
    wanted = [Wanted(one, "Maximum", NOW, NOW + 60_000, 60) for one in reversed(made)]
    missing = Wanted(_metric("many", InstanceId="i-7"), "Maximum", NOW, NOW + 60_000, 60)
    minute = Wanted(made[3], "Sum", NOW, NOW + 120_000, 120)
    found = await metrics_store.read([missing, *wanted, minute])
    expected = [[Found("None", ((NOW, float(number)),))] for number in range(7)]
    assert found == [[], *reversed(expected), expected[3]]
    with pytest.raises(ValueError):
        await metrics_store.read([Wanted(made[0], "Median", NOW, NOW + 60_000, 60)])


async def test_metrics_are_found_by_what_they_are_and_when_they_were_active(metrics_store):
    odd = Identity("find", "Other", "x y", (("a b", 'q"é\\'), ("c", "1")))
    cpu = [_metric("find", "CPU", InstanceId=f"i-{number}") for number in range(3)]
    plain = _metric("find", "Requests")
    now = int(time.time() * 1000)
    await metrics_store.write([single(one, now - 8_000_000, "Count", 1) for one in (*cpu, plain)])
    await metrics_store.write([single(odd, now, "Count", 1), Datum(cpu[1], now, "Count", 60, 2, 2, 0, 2)])
    await metrics_store.write([single(_metric("find2", "CPU"), now, "Count", 1)])
    every = [*cpu, plain, odd]
    cases = {
        Filter("find"): every,
        Filter("find", "My/App"): [*cpu, plain],
        Filter("find", "My/App", "CPU"): cpu,
        Filter("find", dimensions=(("InstanceId", None),)): cpu,
        Filter("find", dimensions=(("InstanceId", "i-2"),)): [cpu[2]],
        Filter("find", dimensions=(("a b", 'q"é\\'), ("c", None))): [odd],
        Filter("find", active_since=now - 3_600_000): [cpu[1], odd],
        Filter("find", "My"): [],
    }
    for wanted, expected in cases.items():
        assert await metrics_store.find(wanted) == expected, wanted
    first = await metrics_store.find(Filter("find"), limit=2)
    assert [*first, *await metrics_store.find(Filter("find"), after=first[-1])] == every


def test_no_controller_loses_what_was_acknowledged_and_no_kill_of_the_engine_what_is_two_seconds_old(tmp_path: Path):
    one = _metric("killed")
    first, second = (metrics.store_on(tmp_path) for _ in range(2))
    with asyncio.Runner() as loop:
        try:
            loop.run(first.write([single(one, NOW, "Count", 5)]))
            before = metrics.process_in(tmp_path)
            assert loop.run(_points(second, one, "Sum")) == {"Count": [(0, 5)]}
            assert metrics.process_in(tmp_path) == before
            wait_for(lambda: loop.run(_is_on_disk(second)), "the engine has nothing in memory alone")
            os.kill(before, signal.SIGKILL)
            for store in (first, second):
                assert loop.run(_points(store, one, "Sum")) == {"Count": [(0, 5)]}
            assert metrics.process_in(tmp_path) != before
        finally:
            loop.run(first.close())
            loop.run(second.close())
            metrics.kill(tmp_path)


async def _is_on_disk(store) -> bool:
    shown = (await store._engine.post("/metrics", b"", {})).decode()
    counts = re.findall(r'vm_rows\{type="(?:storage/inmemory|indexdb/inmemory)"\} (\d+)', shown)
    return bool(counts) and not any(map(int, counts))


def test_nobody_else_reaches_it(metrics_folder: Path):
    process = metrics.process_in(metrics_folder)
    assert Path(f"/proc/{process}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    interfaces = Path(f"/proc/{process}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    assert stat.S_IMODE(metrics_folder.stat().st_mode) == 0o700
    assert not re.search("error|fatal|panic", (metrics_folder / LOG_FILE).read_text())


async def test_without_the_program_nothing_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stead_controller.metrics.embedded._PROGRAM", "no-such-program")
    engine = EmbeddedEngine(tmp_path)
    with pytest.raises(MetricsUnavailable, match="apt-get install"):
        await engine.post("/health", b"", {})
    await engine.close()


async def test_an_engine_that_ends_at_once_is_named_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stead_controller.metrics.embedded._PROGRAM", "false")
    engine = EmbeddedEngine(tmp_path)
    with pytest.raises(MetricsUnavailable, match=LOG_FILE):
        await engine.post("/health", b"", {})
    await engine.close()


async def test_an_engine_of_others_that_does_not_answer(tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    settings = ControllerSettings(tmp_path, metrics_endpoint="http://127.0.0.1:1/", metrics_token_file=token)
    store = open_store(settings, clock.now)
    with pytest.raises(MetricsUnavailable, match="does not answer"):
        await store.write([single(_metric("x"), NOW, "Count", 1)])
    await store.close()
