"""The root shell that a micro guest may have on its serial port, used as if by typing."""

import contextlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

from stead_agent.machines.libvirt_machines import LibvirtMachines
from tests.support.waiting import wait_for

_CONSOLE_BYTES = 1 << 20
_RESUMED = 1000
# The guest's init tests with this whether a shell is wanted; the other is always true: a word of any command line.
_ASKED = b'*" stead.shell "*)'
_ALWAYS = b'*" quiet "*)'.ljust(len(_ASKED))


def with_shell(image: Path, raw: Path) -> Path:
    """Make a raw copy of a micro image whose guests have the shell."""
    subprocess.run(["qemu-img", "convert", "-O", "raw", image, raw], check=True)
    content = raw.read_bytes()
    assert content.count(_ASKED) == 1, "the guest's init asks in another way"
    with raw.open("r+b") as file:
        file.seek(content.index(_ASKED))
        file.write(_ALWAYS)
    return raw


class SerialShell:
    """The shell of one running guest."""

    def __init__(
        self,
        machines: LibvirtMachines,
        machine_id: str,
        check: Callable[[], None] = lambda: None,
        *,
        resumed: bool = False,
        seconds: float = 120.0,
    ) -> None:
        """Wait so long for the shell's prompt; `check` raises when it cannot come.

        One that was `resumed` waits for a line.
        """
        self._machines = machines
        self._id = machine_id
        self._count = _RESUMED if resumed else 0  # its marks are not those of the shell before
        with machines.domain(machine_id) as domain:
            assert domain is not None, f"{machine_id} does not run"
            found = ET.fromstring(domain.XMLDesc(0)).find("devices/serial/source")
        assert found is not None
        self._pty = os.open(found.get("path", ""), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

        said = len(self.heard()) if resumed else 0
        if resumed:
            self.begin("")

        def has_shell() -> bool:
            check()
            return b"# " in self.heard()[said:]

        wait_for(has_shell, "the guest has a shell", seconds, poll=0.1, explain=self._console_end)

    def close(self) -> None:
        """Close the serial port."""
        os.close(self._pty)

    def heard(self) -> bytes:
        """Return the guest's output on its serial port.

        What waits at the terminal is read away: QEMU stands still at an arm64 guest's output that nobody reads.
        """
        with contextlib.suppress(BlockingIOError, OSError):  # all is read, or QEMU has ended
            while os.read(self._pty, _CONSOLE_BYTES):
                pass
        return self._machines.console_output(self._id, _CONSOLE_BYTES)

    def _console_end(self) -> str:
        return self.heard()[-2000:].decode(errors="replace")

    def begin(self, command: str) -> None:
        """Type a command without waiting."""
        os.write(self._pty, f"{command}\n".encode())

    def run(self, command: str, seconds: float = 60.0) -> str:
        """Type a command and wait for its end; return its output."""
        self._count += 1
        first, last = f"begin-{self._count}-", f"end-{self._count}-"
        # The guest composes the marks, so that the echo of the typed command does not contain them.
        self.begin(f"echo {first[:5]}'{first[5:]}'; {command}; echo {last[:3]}'{last[3:]}'")
        wait_for(lambda: last.encode() in self.heard(), f"{command!r} has ended", seconds, poll=0.05)
        said = self.heard().decode(errors="replace").rpartition(last)[0].rpartition(first)[2]
        return said.strip()
