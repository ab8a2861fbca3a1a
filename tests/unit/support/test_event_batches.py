"""What workers say of tests arrives as it was, and in short where all is well."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support import event_batches


class WorkerInteractor:
    """As pytest-xdist's, whose name it has."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.channel = SimpleNamespace(send=self.sent.append)
        self.sendevent: Any = None


class Both:
    """A worker, and what pytest takes of it."""

    def __init__(self) -> None:
        self.worker = WorkerInteractor()
        self.taken: list[Any] = []
        self.messages: list[bytes] = []
        manager = SimpleNamespace(get_plugins=lambda: {self.worker, self})
        event_batches.gather(cast("pytest.Config", SimpleNamespace(pluginmanager=manager)))
        node = SimpleNamespace(process_from_remote=self.taken.append)
        event_batches.take_apart(node)
        self.take = node.process_from_remote

    def say(self, *events: event_batches.Event) -> None:
        for name, said in events:
            self.worker.sendevent(name, **said)
        for message in self.worker.sent:
            self.take(message)
        self.messages += self.worker.sent
        self.worker.sent.clear()


def report(when: str, duration: float = 0.01, outcome: str = "passed", **more: Any) -> event_batches.Event:
    said = {"when": when, "duration": duration, "outcome": outcome, "sections": [], "user_properties": [], "id": "t"}
    return "testreport", {"data": said | more}


BEGIN, END = ("logstart", {"nodeid": "t"}), ("logfinish", {"nodeid": "t"})
DONE: event_batches.Event = ("runtest_protocol_complete", {})


def test_one_that_passed_is_one_message_and_one_report_of_the_whole_time() -> None:
    both = Both()
    both.say(BEGIN, report("setup"), report("call", 0.5), report("teardown"), END)
    assert both.taken == []
    both.say(DONE)
    assert len(both.messages) == 1
    begin, (name, said), *rest = both.taken
    assert (begin, rest) == (BEGIN, [END, DONE])
    assert (name, said["data"]["when"]) == ("testreport", "call")
    assert said["data"]["duration"] == pytest.approx(0.52)


@pytest.mark.parametrize(
    "reports",
    [
        [report("setup", outcome="skipped"), report("teardown")],
        [report("setup"), report("call", outcome="failed"), report("teardown")],
        [report("setup"), report("call"), report("teardown", outcome="failed")],
        [report("setup", sections=[("Captured log", "a line")]), report("call"), report("teardown")],
        [report("setup"), report("call"), report("teardown", user_properties=[("a", "b")])],
        [report("setup", 5.0), report("call"), report("teardown")],
        [report("setup"), report("call"), report("teardown", 5.0)],
    ],
    ids=["skipped", "failed", "failed after", "said", "noted", "long before", "long after"],
)
def test_of_all_others_each_report_arrives(reports: list[event_batches.Event]) -> None:
    both = Both()
    both.say(BEGIN, *reports, END, DONE)
    assert both.taken == [BEGIN, *reports, END, DONE]


def test_what_is_not_of_a_test_is_said_at_once_and_in_order() -> None:
    both = Both()
    warning = ("warning_recorded", {"when": "runtest"})
    both.say(BEGIN, report("setup"), warning)
    both.say(report("call"), report("teardown"), END, DONE)
    both.take("the end")
    rest = [report("call"), report("teardown"), END, DONE, "the end"]
    assert both.taken == [BEGIN, report("setup"), warning, *rest]
    assert len(both.messages) == 2
