"""What has ended leaves no trace in an agent: whatever is kept for each id would grow with all that ever was."""

import gc
import re
import types
from collections.abc import Iterator
from typing import Any, Final

import pytest
from google.protobuf.message import Message

from stead_agent import agent
from stead_agent.disks.exports.interface import Remote
from stead_agent.disks.volumes.interface import VolumeSpec
from stead_agent.simulated import machines
from stead_agent.simulated.clock import SteppedClock
from stead_agent.simulated.host import SimulatedHost
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench

_OF_THE_PROGRAM: Final = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.CodeType)


def _reached(root: Any) -> Iterator[Any]:
    """All objects that are reached from one, but for those of the program itself."""
    waiting, seen = [root], {id(root)}
    while waiting:
        found = waiting.pop()
        yield found
        for each in gc.get_referents(found):
            if id(each) not in seen and not isinstance(each, _OF_THE_PROGRAM):
                seen.add(id(each))
                waiting.append(each)


def _traces(root: Any, name: str) -> list[str]:
    """What is reached from an object and has the name of a machine, its disk or its interface in it."""
    ids = re.compile(rf"(i|vol|eni)-{name}\b")
    texts = [str(each) for each in _reached(root) if isinstance(each, str | bytes | Message)]
    return [each for each in texts if ids.search(each)]


def _live(bench: Bench, sender: make.Sender, name: str) -> None:
    """Let a machine run and end, and the controller hear of it."""
    there = set(sender.resources)
    bench.settle(sender.change(*make.launch(name)))
    assert f"i-{name}" in bench.host.running()
    bench.settle(sender.change(gone=tuple(sender.resources.keys() - there)))
    assert f"i-{name}" not in bench.host.running()
    bench.reconciler.drop_tombstones([(key, each.revision) for key, each in bench.report().items()])
    bench.reported.clear()
    bench.calls.clear()


def test_a_machine_that_has_ended_leaves_no_trace() -> None:
    bench, sender = Bench(), make.Sender()
    bench.settle(sender.change(make.host_network(), *make.launch("1"), full=True))
    _live(bench, sender, "77")
    agent.empty_trash(bench.host.subsystems)
    assert bench.host.world.objects.starts.pop(("i-77", 1)) == 1  # of these the latest are kept
    assert _traces((bench.reconciler, bench.host, bench.store), "1")
    assert _traces((bench.reconciler, bench.host, bench.store), "77") == []


def test_of_machines_that_are_gone_the_latest_starts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "_STARTS_KEPT", 2)
    bench, sender = Bench(), make.Sender()
    bench.settle(sender.change(make.host_network(), *make.launch("1"), full=True))
    bench.host.world.objects.starts["i-2", 1] = 2  # more than once: a reader is to see it
    for number in range(3, 12):
        _live(bench, sender, str(number))
    starts = bench.host.world.objects.starts
    assert {("i-1", 1): 1, ("i-2", 1): 2, ("i-10", 1): 1, ("i-11", 1): 1}.items() <= starts.items()
    assert len(starts) < 6


def test_what_a_guest_was_refused_is_forgotten_with_it() -> None:
    host = SimulatedHost(SteppedClock())
    volumes, exports = host.volumes, host.subsystems.exports
    volumes.ensure(VolumeSpec("vol-1", 1))
    exports.connect(Remote("vol-2", 1, "h-2", "", 1, 1))
    exports.refuse("vol-2")
    exports.refuse("vol-2")
    assert host.world.objects.refused == ["vol-2"]
    host.machines.cut_off("i-1", "vol-2")
    host.machines.cut_off("i-2", "vol-2")
    host.machines.remove("i-1")
    assert host.world.objects.cut_off == [("i-2", "vol-2")]
    exports.end("vol-2")
    assert host.world.objects.refused == []
    assert host.violations == []
