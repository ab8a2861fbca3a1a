"""A guest's serial port: the terminal that QEMU has made for it."""

import os
from typing import Any
from xml.etree import ElementTree as ET

from stead_agent.machines.interface import MachineError


def open_port(domain: Any) -> int:
    """Open the terminal of a running libvirt.virDomain and return its file descriptor; raises MachineError, OSError."""
    port = ET.fromstring(domain.XMLDesc()).find("./devices/serial/source")  # noqa: S314 - libvirt's own
    path = None if port is None else port.get("path")
    if path is None:
        raise MachineError(f"{domain.name()} has no serial port")
    return os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
