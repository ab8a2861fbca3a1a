"""Who answers a question that a request has: the block store, the store of metrics, this process, or a host's agent."""

import asyncio
from datetime import UTC, datetime

from stead_controller.blocks.store import BlockStore
from stead_controller.clock import Clock
from stead_controller.hosts.link import HostLink
from stead_controller.metrics.datum import Store
from stead_controller.request.questions import (
    Capture,
    ConsoleOutput,
    ConsoleUse,
    HostAnswer,
    Interrupt,
    Look,
    OfMetrics,
    PasswordCheck,
    PasswordData,
    PushedKey,
    Question,
    ReadBlock,
    WriteBlock,
)
from stead_controller.resources.iam.passwords import is_password
from stead_proto.v1 import host_pb2 as pb


class Asking:
    """Asks the right one."""

    def __init__(self, link: HostLink, blocks: BlockStore, metrics: Store, clock: Clock) -> None:
        """Take all that may be asked."""
        self._link = link
        self._blocks = blocks
        self._metrics = metrics
        self._clock = clock

    async def ask(self, question: Question) -> HostAnswer:
        """Answer a question; raises HostUnavailable, MetricsUnavailable and what the block store raises."""
        if isinstance(question, ReadBlock | WriteBlock):
            return await self._blocks.answer(question)
        if isinstance(question, OfMetrics):
            return HostAnswer(b"", self._clock(), found=await question.ask(self._metrics))
        if isinstance(question, ConsoleUse):
            is_used = self._link.consoles.is_open(question.instance_id)
            return HostAnswer(b"1" if is_used else b"", self._clock(), "")
        if isinstance(question, PasswordCheck):
            found = await asyncio.to_thread(lambda: bytes(is_password(*pair) for pair in question.pairs))
            return HostAnswer(found, self._clock(), "")
        message = pb.Question()
        if isinstance(question, ConsoleOutput):
            message.console_output.machine_id = question.instance_id
            message.console_output.last_bytes = question.last_bytes
        elif isinstance(question, Look):
            message.path.CopyFrom(
                pb.PathQuestion(
                    vpc_id=question.vpc_id,
                    subnet_id=question.subnet_id,
                    interface_id=question.interface_id,
                    from_address=question.from_address,
                    to_address=question.to_address,
                )
            )
        elif isinstance(question, Capture):
            message.capture.interface_id = question.interface_id
            message.capture.seconds = question.seconds
            message.capture.packets = question.packets
            message.capture.snap_length = question.snap_length
        elif isinstance(question, PasswordData):
            message.password.machine_id = question.instance_id
        elif isinstance(question, Interrupt):
            message.interrupt.machine_id = question.instance_id
        elif isinstance(question, PushedKey):
            message.pushed_key.CopyFrom(
                pb.PushedKeyQuestion(
                    machine_id=question.instance_id,
                    os_user=question.os_user,
                    openssh=question.openssh,
                    seconds=question.seconds,
                    caller=question.caller,
                    request_id=question.request_id,
                )
            )
        else:
            message.screenshot.machine_id = question.instance_id
            message.screenshot.wake_up = question.wake_up
        answer = await self._link.ask(question.host_id, message)
        return HostAnswer(answer.content, datetime.fromtimestamp(answer.taken_at / 1000, UTC), answer.error)
