"""A root shell on a guest's serial console, for tests that must see disks as the guest does."""

import contextlib
import re
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

import libvirt

from images.disk import SECTOR
from images.micro.build import plan_disk
from tests.support import micro
from tests.support.processes import ROOT
from tests.support.waiting import wait_for

_INIT = Path("images/micro/rootfs/usr/lib/stead/init")
_CHANGES = (
    ("read -r command_line </proc/cmdline\n", "command_line=stead.shell\n"),
    # What looks for a network, which it has not, would say so on the console after a minute, amid what a command says.
    ("/usr/lib/stead/instance </dev/null >/dev/null 2>/dev/console &\n", ""),
)


def image_with_shell(path: Path) -> None:
    """Make a raw copy of the micro image that gives whoever is at its serial console a root shell."""
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", micro.build(), path], check=True)
    changed = (ROOT / _INIT).read_text()
    for before, after in _CHANGES:
        assert changed.count(before) == 1, before
        changed = changed.replace(before, after)
    init = path.with_suffix(".init")
    init.write_text(changed)
    commands = f"rm /usr/lib/stead/init\nwrite {init} /usr/lib/stead/init\nsif /usr/lib/stead/init mode 0100755\n"
    subprocess.run(
        ["debugfs", "-w", "-f", "-", f"{path}?offset={plan_disk().root_start * SECTOR}"],
        input=commands.encode(),
        check=True,
        capture_output=True,
    )
    init.unlink()


class Shell:
    """What is said to the shell and what it answers; one command at a time.

    No child of the shell may end while the shell reads: its input is marked as failed by that, and BusyBox's `head`,
    which is a fork of it, says so. `wait` for what is in the background, or let it be a child of another.
    """

    def __init__(self, uri: str, machine_id: str) -> None:
        self._live = libvirt.open(uri)
        self._stream = self._live.newStream(libvirt.VIR_STREAM_NONBLOCK)
        self._live.lookupByName(machine_id).openConsole(None, self._stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
        self._heard = b""

    def run(self, command: str, seconds: float = 20.0) -> str:
        """Run a command and return what it wrote; AssertionError when it fails or takes too long."""
        mark = secrets.token_hex(4)
        begin, end = f"begin-{mark}", f"end-{mark}"
        # Quotes in the middle of the words tell what the shell writes from what it only echoes.
        self._say(f"echo begin''-{mark}; {{ {command} ; }} 2>&1; echo end''-{mark} $?\n")
        said = wait_for(
            lambda: self._listen(rf"(?s){begin}\r?\n(.*){end} (\d+)\r?\n"),
            f"the guest has done {command}",
            seconds,
        )
        output = said[1].replace("\r", "").strip()
        assert said[2] == "0", f"{command}: status {said[2]}: {output}"
        return output

    def wait_until_up(self, check: Callable[[], None], seconds: float = 300) -> None:
        """Wait until the guest has booted and its shell answers; `check` raises when that is in vain."""

        def answers() -> bool:
            check()
            try:
                self._say("echo i_am''_here\n")
                return self._listen("i_am_here\r?\n") is not None
            except libvirt.libvirtError:  # the stream ends with the guest: the next check tells why
                return False

        wait_for(
            answers,
            "the guest's shell answers",
            seconds,
            poll=0.5,
            explain=lambda: self._heard[-2000:].decode("latin-1"),
        )
        self.run("stty -echo; PS1=")

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(libvirt.libvirtError):  # it ended with the guest
            self._stream.abort()
        self._live.close()

    def _say(self, text: str) -> None:
        data = text.encode()
        while data:
            sent = self._stream.send(data)
            data = data[max(sent, 0) :]

    def _listen(self, pattern: str) -> "re.Match[str] | None":
        """Take in what was said; if it matches, give that and forget it."""
        while isinstance(piece := self._stream.recv(4096), bytes) and piece:
            self._heard += piece
        found = re.search(pattern, self._heard.decode(errors="replace"))
        if found:
            self._heard = b""
        return found
