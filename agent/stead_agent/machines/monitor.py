"""QMP commands to a guest's QEMU through libvirt, which owns the monitor.

See https://www.qemu.org/docs/master/interop/qmp-spec.html. A command that blocks also blocks QEMU's main loop, and with
it the guest. No argument may be a secret: libvirt can be configured to log commands.
"""

import json
from collections.abc import Mapping
from typing import Any

import libvirt_qemu

from stead_agent.machines.interface import MachineError


class MonitorError(MachineError):
    """QEMU refused or failed a command."""


def execute(domain: Any, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
    """Execute one command and return its result; raises MonitorError, and libvirt's error when it does not run."""
    request = json.dumps({"execute": command, "arguments": dict(arguments or {})})
    flags = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT
    answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain, request, flags))
    if "return" not in answer:
        raise MonitorError(f"{command}: {answer.get('error', {}).get('desc', 'refused')}")
    return answer["return"]
