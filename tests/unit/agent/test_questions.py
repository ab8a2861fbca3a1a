"""Whatever is asked, there is an answer."""

from stead_agent import questions
from stead_agent.simulated.clock import SteppedClock
from stead_agent.simulated.host import SimulatedHost
from stead_agent.simulated.machines import SimulatedMachines
from stead_proto import limits
from stead_proto.v1.host_pb2 import ConsoleOutputQuestion, Question, ScreenshotQuestion
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench


def _running() -> SimulatedMachines:
    bench = Bench()
    bench.settle(make.Sender().change(make.host_network(), *make.launch(), full=True))
    return bench.host.machines


def test_console_output_is_its_end() -> None:
    question = Question(id=1, console_output=ConsoleOutputQuestion(machine_id="i-1", last_bytes=8))
    assert questions.answer(question, _running()).content == b"boot 1\r\n"


def test_more_than_the_limit_is_never_asked_of_the_machine() -> None:
    asked: list[int] = []

    class Machines(SimulatedMachines):
        def console_output(self, machine_id: str, last_bytes: int) -> bytes:
            asked.append(last_bytes)
            return b""

        def screenshot(self, machine_id: str) -> bytes:
            return b"x" * (limits.SCREENSHOT_BYTES + 1)

    host = SimulatedHost(SteppedClock())
    machines = Machines(host.world, host.metadata, SteppedClock(), host.pace)
    for wish in (0, 10**9):
        question = Question(id=1, console_output=ConsoleOutputQuestion(machine_id="i-1", last_bytes=wish))
        assert questions.answer(question, machines).error == ""
    assert asked == [limits.CONSOLE_OUTPUT_BYTES] * 2
    question = Question(id=1, screenshot=ScreenshotQuestion(machine_id="i-1"))
    assert "bytes" in questions.answer(question, machines).error


def test_an_unexpected_error_is_an_answer() -> None:
    class Machines(SimulatedMachines):
        def screenshot(self, machine_id: str) -> bytes:
            raise ZeroDivisionError(machine_id)

    host = SimulatedHost(SteppedClock())
    machines = Machines(host.world, host.metadata, SteppedClock(), host.pace)
    question = Question(id=3, screenshot=ScreenshotQuestion(machine_id="i-1"))
    answer = questions.answer(question, machines)
    assert (answer.id, answer.error) == (3, "internal error: ZeroDivisionError('i-1')")
