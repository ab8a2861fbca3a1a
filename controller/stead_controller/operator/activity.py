"""What hosts and instances do now: all hosts are asked at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from google.protobuf.message import DecodeError

from stead_controller.errors import SteadError
from stead_controller.resources.operators.host_activity import HostInstances
from stead_proto.v1 import host_pb2
from stead_proto.v1 import operator_pb2 as pb

type AskHost = Callable[[str, host_pb2.Question], Awaitable[host_pb2.Answer]]
"""Asks a host's agent; raises HostUnavailable."""

_SECONDS: Final = 3.0
"""For which a host may think, while the others' answers wait."""


async def measure(ask: AskHost, hosts: list[HostInstances]) -> pb.MeasureHostsResponse:
    """Ask hosts for their activity; of one that gives none the answer says why."""
    return pb.MeasureHostsResponse(hosts=await asyncio.gather(*(_measured(ask, host) for host in hosts)))


async def _measured(ask: AskHost, host: HostInstances) -> pb.MeasuredHost:
    shown = pb.MeasuredHost(host_id=host.host_id, hostname=host.hostname)
    if not host.is_up:
        shown.error = "it is not up"
        return shown
    question = host_pb2.Question(activity=host_pb2.ActivityQuestion())
    try:
        answer = await asyncio.wait_for(ask(host.host_id, question), _SECONDS)
        shown.error = answer.error
        if not answer.error:
            shown.activity.ParseFromString(answer.content)
    except TimeoutError:
        shown.error = f"it did not answer within {_SECONDS:g} s"
    except (SteadError, DecodeError) as error:
        shown.error = str(error)
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
