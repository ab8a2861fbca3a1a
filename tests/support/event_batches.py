"""What a process that shares the tests says of each: one message with one report, where pytest-xdist has six with three.

Each of these is written and read by code in Python, and wakes two threads of the process that shows them, which for most
tests costs as much as the test itself.
"""

import pickle
from typing import Any, Final

import pytest

_WAIT: Final = frozenset({"logstart", "testreport", "logfinish"})  # for the end of their test
_PHASES: Final = 3  # of a test that runs: setup, call, teardown
_SHORT: Final = 0.1  # seconds: a longer phase is shown for itself

type Event = tuple[str, dict[str, Any]]


def gather(config: pytest.Config) -> None:
    """Let a worker keep what it says of a test until that has ended: nobody needs it before."""
    [worker] = (each for each in config.pluginmanager.get_plugins() if type(each).__name__ == "WorkerInteractor")
    kept: list[Event] = []

    def keep_or_send(name: str, **said: Any) -> None:
        kept.append((name, said))
        if name not in _WAIT:
            worker.channel.send(pickle.dumps(_in_short(kept)))
            kept.clear()

    worker.sendevent = keep_or_send


def take_apart(node: Any) -> None:
    """Let pytest have what a worker says one by one, as if it came so."""
    take = node.process_from_remote

    def take_each(sent: Any) -> None:
        if not isinstance(sent, bytes):  # that it has ended
            take(sent)
            return
        for event in pickle.loads(sent):
            take(event)

    node.process_from_remote = take_each


def _in_short(events: list[Event]) -> list[Event]:
    """One report in the place of three, with the time of all, of a test that just passed."""
    reports = [said["data"] for name, said in events if name == "testreport"]
    if len(reports) != _PHASES or not all(map(_is_plain, reports)):
        return events
    before, call, after = reports
    if max(before["duration"], after["duration"]) > _SHORT:
        return events
    whole = call | {"duration": sum(one["duration"] for one in reports)}
    others = [event for event in events if event[0] != "testreport"]
    return [*others[:1], ("testreport", {"data": whole}), *others[1:]]


def _is_plain(report: dict[str, Any]) -> bool:
    """Tell whether a report says nothing but that all is well."""
    return report["outcome"] == "passed" and not report["sections"] and not report["user_properties"]
