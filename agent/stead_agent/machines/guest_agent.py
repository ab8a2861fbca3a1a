"""Asks the QEMU guest agent in a guest, if there is one; the guest may be hostile, and any answer may never come."""

import json
import logging
import time
from typing import Any, Final
from xml.etree import ElementTree as ET

import libvirt
import libvirt_qemu

_log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 5
_CHANNEL: Final = "org.qemu.guest_agent.0"
_AWAITED_SECONDS: Final = 10.0
"""How long after its guest was resumed an agent may take to be connected."""
_LOOK_SECONDS: Final = 0.5


def is_connected(domain: Any) -> bool:
    """Tell whether a guest has the channel of its agent open; raises libvirtError."""
    channels = ET.fromstring(domain.XMLDesc(0)).iterfind("devices/channel/target")  # noqa: S314 (libvirt's own)
    return any(each.get("name") == _CHANNEL and each.get("state") == "connected" for each in channels)


def ask(domain: Any, command: str, **arguments: Any) -> None:
    """Have an agent carry out a command; raises libvirtError, also when it does not answer in time."""
    asked = {"execute": command, **({"arguments": arguments} if arguments else {})}
    libvirt_qemu.qemuAgentCommand(domain, json.dumps(asked), ANSWER_SECONDS, 0)


def set_clock(domain: Any) -> None:
    """Have the agent of a guest that was just resumed set its clock, which has stood still; without one nobody does."""
    machine_id, until = domain.name(), time.monotonic() + _AWAITED_SECONDS
    try:
        while not is_connected(domain):
            if time.monotonic() >= until:
                return
            time.sleep(_LOOK_SECONDS)
        ask(domain, "guest-set-time", time=time.time_ns())
    except libvirt.libvirtError as error:
        # It sets the system's clock, then the hardware's: systems without `hwclock`, as Debian 13, fail at the latter.
        _log.info("guest_clock_doubtful", extra={"machine": machine_id, "error": str(error)})
    else:
        _log.info("guest_clock_set", extra={"machine": machine_id})
