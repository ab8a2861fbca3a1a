"""Whatever is asked, there is an answer."""

import json
import time
from dataclasses import replace

from stead_agent import questions
from stead_agent.reconcile.subsystems import Subsystems
from stead_agent.simulated.clock import SteppedClock
from stead_agent.simulated.host import SimulatedHost
from stead_agent.simulated.machines import SimulatedMachines
from stead_agent.simulated.networks import SimulatedNetwork
from stead_proto import limits
from stead_proto.v1.host_pb2 import (
    Activity,
    ActivityQuestion,
    CaptureQuestion,
    ConsoleOutputQuestion,
    InterruptQuestion,
    PasswordQuestion,
    PathQuestion,
    PushedKeyQuestion,
    Question,
    ScreenshotQuestion,
)
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench


def _running() -> Subsystems:
    bench = Bench()
    bench.settle(make.Sender().change(make.host_network(), *make.launch(), full=True))
    return bench.host.subsystems


def _host_with(machines: type[SimulatedMachines]) -> Subsystems:
    host = SimulatedHost(SteppedClock())
    return replace(host.subsystems, machines=machines(host.world, host.metadata, SteppedClock(), host.durations))


def test_console_output_is_its_end() -> None:
    question = Question(id=1, console_output=ConsoleOutputQuestion(machine_id="i-1", last_bytes=8))
    assert questions.answer(question, _running()).content == b"boot 1\r\n"


def test_what_host_and_machines_do_is_counted() -> None:
    bench = Bench()
    bench.settle(make.Sender().change(make.host_network(), *make.launch(), full=True))
    asked = Question(id=1, activity=ActivityQuestion())
    before = Activity.FromString(questions.answer(asked, bench.host.subsystems).content)
    assert (before.cpus > 0, before.memory > before.memory_used > 0) == (True, True)
    [idle] = before.machines
    assert (idle.machine_id, idle.cpu_time, idle.read_bytes, idle.sent_bytes) == ("i-1", 0, 0, 0)
    assert idle.memory_used > 0
    bench.host.counters.set_load("i-1", 0.5, 1_000_000_000)
    [busy] = Activity.FromString(questions.answer(asked, bench.host.subsystems).content).machines
    assert busy.process == idle.process
    assert busy.at > idle.at
    assert min(busy.cpu_time, busy.read_bytes, busy.written_bytes, busy.received_bytes, busy.sent_bytes) > 0


def test_a_password_is_what_the_guest_wrote() -> None:
    bench = Bench()
    bench.settle(make.Sender().change(make.host_network(), *make.launch(), full=True))
    question = Question(id=1, password=PasswordQuestion(machine_id="i-1"))
    assert questions.answer(question, bench.host.subsystems).content == b""
    bench.host.machines.write_console("i-1", b"<Password>\r\nc2VjcmV0\r\n</Password>\r\n")
    assert questions.answer(question, bench.host.subsystems).content == b"c2VjcmV0"
    console = Question(id=2, console_output=ConsoleOutputQuestion(machine_id="i-1", last_bytes=13))
    assert questions.answer(console, bench.host.subsystems).content == b"</Password>\r\n"


def test_an_interrupt_is_sent_and_one_that_cannot_be_is_an_error() -> None:
    parts = _running()
    for number, machine_id, error in ((1, "i-1", ""), (2, "i-2", "there is no i-2")):
        question = Question(id=number, interrupt=InterruptQuestion(machine_id=machine_id))
        assert questions.answer(question, parts).error == error
    assert parts.machines.console_output("i-1", 14) == b"NMI received\r\n"


def test_more_than_the_limit_is_never_asked_of_the_machine() -> None:
    asked: list[int] = []

    class Machines(SimulatedMachines):
        def console_output(self, machine_id: str, last_bytes: int) -> bytes:
            asked.append(last_bytes)
            return b""

        def screenshot(self, machine_id: str, *, wake_up: bool = False) -> bytes:
            return b"x" * (limits.SCREENSHOT_BYTES + 1)

    parts = _host_with(Machines)
    for command in (0, 10**9):
        question = Question(id=1, console_output=ConsoleOutputQuestion(machine_id="i-1", last_bytes=command))
        assert questions.answer(question, parts).error == ""
    assert asked == [limits.CONSOLE_OUTPUT_BYTES] * 2
    question = Question(id=1, screenshot=ScreenshotQuestion(machine_id="i-1"))
    assert "bytes" in questions.answer(question, parts).error


def test_an_unexpected_error_is_an_answer() -> None:
    class Machines(SimulatedMachines):
        def screenshot(self, machine_id: str, *, wake_up: bool = False) -> bytes:
            raise ZeroDivisionError(machine_id)

    parts = _host_with(Machines)
    question = Question(id=3, screenshot=ScreenshotQuestion(machine_id="i-1"))
    answer = questions.answer(question, parts)
    assert (answer.id, answer.error) == (3, "internal error: ZeroDivisionError('i-1')")


def test_a_capture_is_bounded_and_says_why_there_is_none() -> None:
    asked: list[tuple[float, int]] = []

    class Network(SimulatedNetwork):
        def capture(self, interface_id: str, seconds: float, packets: int, snap_length: int) -> bytes:
            asked.append((seconds, packets))
            return b"pcap"

    host = SimulatedHost(SteppedClock())
    question = Question(id=4, capture=CaptureQuestion(interface_id="eni-1", seconds=3600, packets=10**6))
    assert questions.answer(question, replace(host.subsystems, network=Network(host.world))).content == b"pcap"
    assert asked == [(limits.CAPTURE_SECONDS, limits.CAPTURE_PACKETS)]
    assert "simulated" in questions.answer(question, host.subsystems).error


def test_the_path_of_an_interface_is_a_list_of_findings() -> None:
    question = Question(
        id=5, path=PathQuestion(interface_id="eni-1", vpc_id="vpc-1", subnet_id="subnet-1", to_address="10.1.0.9")
    )
    found = json.loads(questions.answer(question, _running()).content)
    assert [(each["what"], each["ok"]) for each in found] == [
        ("tap", True),
        ("security groups", True),
        ("DHCP and DNS", True),
        ("metadata", True),
    ]
    question.path.vpc_id = "vpc-2"
    assert not any(each["ok"] for each in json.loads(questions.answer(question, _running()).content))


def test_a_pushed_key_is_shown_from_now_on() -> None:
    bench = Bench()
    bench.settle(make.Sender().change(make.host_network(), *make.launch(), full=True))
    pushed = PushedKeyQuestion(
        machine_id="i-1", os_user="admin", openssh="ssh-ed25519 AAAA", seconds=60, caller="arn", request_id="r"
    )
    before = int(time.time())
    answer = questions.answer(Question(id=4, pushed_key=pushed), bench.host.subsystems)
    assert (answer.id, answer.error, answer.content) == (4, "", b"")
    [(machine_id, key)] = bench.host.metadata.pushed
    assert (machine_id, key.os_user, key.openssh, key.caller, key.request_id) == (
        "i-1", "admin", "ssh-ed25519 AAAA", "arn", "r",
    )  # fmt: skip
    assert before + 60 <= key.expires <= int(time.time()) + 60
    pushed.machine_id = "i-2"
    assert "no metadata" in questions.answer(Question(id=5, pushed_key=pushed), bench.host.subsystems).error
