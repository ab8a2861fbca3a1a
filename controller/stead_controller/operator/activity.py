"""What hosts and instances do now, and what hosts repair: all hosts are asked at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from google.protobuf.message import DecodeError, Message

from stead_controller.errors import SteadError
from stead_controller.resources.operators.host_activity import HostInstances
from stead_proto.v1 import host_pb2
from stead_proto.v1 import operator_pb2 as pb

type AskHost = Callable[[str, host_pb2.Question], Awaitable[host_pb2.Answer]]
"""Asks a host's agent; raises HostUnavailable."""

_SECONDS: Final = 3.0
_REPAIR_SECONDS: Final = 18.0
"""For which a host may think, while the others' answers wait."""


async def measure(ask: AskHost, hosts: list[HostInstances]) -> pb.MeasureHostsResponse:
    """Ask hosts for their activity; of one that gives none the answer says why."""
    return pb.MeasureHostsResponse(hosts=await asyncio.gather(*(_measured(ask, host) for host in hosts)))


async def _measured(ask: AskHost, host: HostInstances) -> pb.MeasuredHost:
    shown = pb.MeasuredHost(host_id=host.host_id, hostname=host.hostname)
    question = host_pb2.Question(activity=host_pb2.ActivityQuestion())
    shown.error = await _answered(ask, host, question, shown.activity, _SECONDS)
    shown.instances.extend(
        pb.MeasuredInstance(
            instance_id=one.instance_id,
            account_id=one.account_id,
            instance_type=one.instance_type,
            vcpus=one.vcpus,
            memory=one.memory,
        )
        for one in host.instances
    )
    return shown


async def repair(ask: AskHost, hosts: list[HostInstances]) -> pb.RepairHostsResponse:
    """Have hosts repair themselves; of one that gives no answer it says why."""
    return pb.RepairHostsResponse(hosts=await asyncio.gather(*(_repaired(ask, host) for host in hosts)))


async def _repaired(ask: AskHost, host: HostInstances) -> pb.RepairedHost:
    shown = pb.RepairedHost(host_id=host.host_id, hostname=host.hostname)
    question = host_pb2.Question(repair=host_pb2.RepairQuestion())
    shown.error = await _answered(ask, host, question, shown.repaired, _REPAIR_SECONDS)
    return shown


async def _answered(
    ask: AskHost, host: HostInstances, question: host_pb2.Question, content: Message, seconds: float
) -> str:
    """Ask a host, and fill in the content of its answer; return why there is none, or nothing."""
    if not host.is_up:
        return "it is not up"
    try:
        answer = await asyncio.wait_for(ask(host.host_id, question), seconds)
        if not answer.error:
            content.ParseFromString(answer.content)
    except TimeoutError:
        return f"it did not answer within {seconds:g} s"
    except (SteadError, DecodeError) as error:
        return str(error)
    return answer.error
