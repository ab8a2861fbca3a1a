"""Questions of the controller that only this host can answer now: a guest's console, its screen, its packets."""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict

from stead_agent import activity
from stead_agent.dhcp.interface import DhcpError
from stead_agent.findings import Finding, Path
from stead_agent.firewall.interface import FirewallError
from stead_agent.logs import Log
from stead_agent.machines.interface import MachineError
from stead_agent.metadata.interface import MetadataError, PushedKey
from stead_agent.network.interface import NetworkError
from stead_agent.reconcile.subsystems import Subsystems
from stead_proto import limits
from stead_proto.v1.host_pb2 import (
    Activity,
    Answer,
    MachineActivity,
    PathQuestion,
    PushedKeyQuestion,
    Question,
    Repaired,
)

_log = Log(__name__)


def answer(question: Question, parts: Subsystems) -> Answer:
    """Answer a question, in any thread; an error is part of the answer."""
    try:
        content = _content(question, parts)
    except (DhcpError, FirewallError, MachineError, MetadataError, NetworkError) as error:
        return _refusal(question, str(error))
    except Exception as error:  # whatever it is, the controller waits for an answer
        _log.error("question_broke", error=error, question=question.WhichOneof("body"))
        return _refusal(question, f"internal error: {error!r}")
    return Answer(id=question.id, content=content, taken_at=time.time_ns() // 1_000_000)


def repaired(question: Question, content: Repaired) -> Answer:
    """Answer by what was repaired."""
    return Answer(id=question.id, content=content.SerializeToString(), taken_at=time.time_ns() // 1_000_000)


def open_console(question: Question, parts: Subsystems) -> tuple[Answer, int | None]:
    """Open the serial port that a question is about; return the answer, and the port unless there is none."""
    try:
        terminal = parts.machines.open_console(question.console.machine_id)
    except (MachineError, OSError) as error:
        return _refusal(question, str(error)), None
    return Answer(id=question.id, taken_at=time.time_ns() // 1_000_000), terminal


def _content(question: Question, parts: Subsystems) -> bytes:
    match question.WhichOneof("body"):
        case "console_output":
            asked = question.console_output
            most = min(asked.last_bytes or limits.CONSOLE_OUTPUT_BYTES, limits.CONSOLE_OUTPUT_BYTES)
            return parts.machines.console_output(asked.machine_id, most)
        case "screenshot":
            shot = question.screenshot
            image = parts.machines.screenshot(shot.machine_id, wake_up=shot.wake_up)
            if len(image) > limits.SCREENSHOT_BYTES:
                raise MachineError(f"the screenshot has {len(image)} bytes")
            return image
        case "interrupt":
            parts.machines.interrupt(question.interrupt.machine_id)
            return b""
        case "password":
            return parts.machines.password_data(question.password.machine_id)
        case "pushed_key":
            parts.metadata.push_key(question.pushed_key.machine_id, _pushed_key(question.pushed_key))
            return b""
        case "path":
            return _path(question.path, parts)
        case "capture":
            wanted = question.capture
            return parts.network.capture(
                wanted.interface_id,
                min(wanted.seconds or 1, limits.CAPTURE_SECONDS),
                min(wanted.packets or limits.CAPTURE_PACKETS, limits.CAPTURE_PACKETS),
                wanted.snap_length,
            )
        case "activity":
            return _activity(parts).SerializeToString()
        case _:
            raise MachineError("this agent does not know the question")


def _pushed_key(pushed: PushedKeyQuestion) -> PushedKey:
    """Return the key as metadata shows it; its time begins now, by this host's clock."""
    expires = int(time.time()) + pushed.seconds
    return PushedKey(pushed.os_user, pushed.openssh, expires, pushed.caller, pushed.request_id)


def _path(wanted: PathQuestion, parts: Subsystems) -> bytes:
    """List what is in force for one interface, in the order in which a packet meets it, as JSON."""
    path = Path(wanted.vpc_id, wanted.subnet_id, wanted.interface_id, wanted.from_address, wanted.to_address)
    found = parts.network.look(path)
    rules = parts.firewall.look(path)
    dhcp = wanted.vpc_id in parts.dhcp.present()
    metadata = wanted.vpc_id in parts.metadata.present()
    services = [
        Finding("DHCP and DNS", wanted.vpc_id, ok=dhcp, detail="served" if dhcp else "no server runs for the VPC"),
        Finding("metadata", wanted.vpc_id, ok=metadata, detail="served" if metadata else "not served in the VPC"),
    ]
    # The tap, what may be sent from it, where that is routed, what may come back.
    return json.dumps([asdict(each) for each in (*found[:1], *rules, *found[1:], *services)]).encode()


def _activity(parts: Subsystems) -> Activity:
    """Read the counters of the host and of all machines that run, instance stores' among their disks."""
    answer = Activity(**asdict(activity.of_host()))
    for machine_id, reading in sorted(parts.counters.read(parts.machines.present()).items()):
        found = MachineActivity(
            machine_id=machine_id,
            process=reading.process,
            at=reading.at,
            cpu_time=reading.cpu_time,
            memory_used=reading.memory,
        )
        if reading.devices is not None:
            disks = [*reading.devices.volumes.values(), *reading.devices.stores.values()]
            nics = reading.devices.nics.values()
            found.read_bytes, found.written_bytes = _sums((disk.read_bytes, disk.written_bytes) for disk in disks)
            found.received_bytes, found.sent_bytes = _sums((nic.received_bytes, nic.sent_bytes) for nic in nics)
        answer.machines.append(found)
    return answer


def _sums(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    found = list(pairs)
    return sum(first for first, _ in found), sum(second for _, second in found)


def _refusal(question: Question, text: str) -> Answer:
    return Answer(id=question.id, error=text[: limits.ERROR_CHARACTERS], taken_at=time.time_ns() // 1_000_000)
