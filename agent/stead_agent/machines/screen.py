"""What is on a guest's screen, and a key that wakes it."""

from typing import Any, Final

import libvirt

from stead_agent.machines.interface import MachineError

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_LEFT_SHIFT: Final = 42  # linux/input-event-codes.h; by itself it writes nothing
_HELD_MILLISECONDS: Final = 50


def wake(domain: Any) -> None:
    """Press a key that does nothing else but wake a screen that sleeps."""
    domain.sendKey(libvirt.VIR_KEYCODE_SET_LINUX, _HELD_MILLISECONDS, [_LEFT_SHIFT], 1, 0)


def take(live: Any, domain: Any) -> bytes:
    """Return a picture of a running guest's screen, as PNG; raises MachineError."""
    stream = live.newStream()
    image = bytearray()
    domain.screenshot(stream, 0)
    stream.recvAll(lambda _stream, piece, _opaque: image.extend(piece), None)
    stream.finish()
    if not image.startswith(_PNG):
        raise MachineError(
            f"{domain.name()}: the screen did not come as PNG: libvirt 8.6 and QEMU 7.1 or later do that"
        )
    return bytes(image)
