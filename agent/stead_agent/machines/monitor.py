"""Commands to a guest's QEMU by QMP, through libvirt, which has its monitor.

See https://www.qemu.org/docs/master/interop/qmp-spec.html. A command that waits lets QEMU's main loop wait, and with it
the guest. No argument may be a secret: libvirt writes commands to its log when it is told to.
"""

import json
from collections.abc import Mapping
from typing import Any

import libvirt_qemu

from stead_agent.machines.interface import MachineError


class MonitorError(MachineError):
    """QEMU did not do what it was told."""


def execute(domain: Any, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
    """Have one command done and return its result; raises MonitorError, and libvirt's error when it does not run."""
    request = json.dumps({"execute": command, "arguments": dict(arguments or {})})
    flags = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT
    answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain, request, flags))
    if "return" not in answer:
        raise MonitorError(f"{command}: {answer.get('error', {}).get('desc', 'refused')}")
    return answer["return"]
