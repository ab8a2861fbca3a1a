"""A guest that writes down, block after block, what must still be there later: each is synced before it counts."""

import contextlib
import os
import signal
import subprocess
import threading
from dataclasses import dataclass, field
from typing import Final

from stead_cli.errors import CliError
from stead_cli.ssh import Login
from tests.recovery.storm.history import History
from tests.support.real_cloud import qemu_process_of
from tests.support.rig import RigUser
from tests.support.street import disk

BLOCK: Final = 4096
_PATIENCE: Final = 10.0  # for one block, while faults go on
_BREATH: Final = 1.5
_BOOTS: Final = 3


@dataclass
class Keeper:
    """A guest with a disk for this alone; it writes between `begin` and `pause`."""

    user: RigUser
    name: str
    instance_id: str
    volume_id: str
    history: History
    written: set[int] = field(default_factory=set)  # blocks of which the guest said that they are synced
    _next: int = 0
    _login: Login | None = None
    _paused: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self) -> None:
        """Let it write."""
        self._paused.clear()
        self._thread = threading.Thread(target=self._live, name=self.name)
        self._thread.start()

    def pause(self) -> None:
        """Let it end the block that it is at."""
        self._paused.set()
        if self._thread is not None:
            self._thread.join()

    def _live(self) -> None:
        while not self._paused.wait(_BREATH):
            with contextlib.suppress(CliError):  # it is away, as it may be now: the block counts neither way
                self._write(self._next)

    def _write(self, number: int) -> None:
        assert self._login is not None
        self._next += 1
        command = (
            f"echo {self._token(number)} | sudo dd of={disk(self.volume_id)} bs={BLOCK} seek={number}"
            " conv=sync,notrunc,fsync 2>/dev/null && echo synced"
        )
        if self._login.run(command, _PATIENCE).strip() == "synced":
            self.written.add(number)
            self.history.note("guest", f"{self.name} has synced block {number}")

    def _token(self, number: int) -> str:
        return f"{self.name}:{number}:"

    def missing(self) -> list[str]:
        """Wait until it can be logged in to, and name the blocks that it wrote and that are not on its disk.

        A guest that does not boot, as happens under emulation where many others want the processors, is reset, twice.
        """
        for _ in range(_BOOTS):
            try:
                self._login = self.user.connect(self.instance_id)
                break
            except AssertionError as failure:
                self.history.note("guest", f"{self.name} does not boot: {str(failure).splitlines()[0]}")
                reset(self.instance_id)
        else:
            return [f"{self.name} does not boot, however often it is reset"]
        return self._read()

    def _read(self) -> list[str]:
        """Name the blocks that were synced and are not there."""
        assert self._login is not None
        self._login.run(f"until test -b {disk(self.volume_id)}; do usleep 200000; done", 60)
        self._login.run("sync; echo 3 | sudo tee /proc/sys/vm/drop_caches >/dev/null")
        read = f"sudo dd if={disk(self.volume_id)} bs={BLOCK} count={self._next} 2>/dev/null | tr -d '\\000'"
        there = set(self._login.run(read, 120).split())
        return [
            f"{self.name} has lost block {number}, which was synced"
            for number in sorted(self.written)
            if self._token(number) not in there
        ]


def reset(instance_id: str) -> None:
    """End a guest's QEMU, if it runs: Stead starts it anew."""
    if (pid := qemu_process_of(instance_id)) is not None:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.kill(pid, signal.SIGKILL)


def end_connections(keepers: list[Keeper]) -> None:
    """End the shared connections, whose processes would outlive the storm."""
    for keeper in keepers:
        if keeper._login is not None:  # the connection is this module's own
            subprocess.run(keeper._login.strict_words("-O", "exit"), capture_output=True, check=False, timeout=60)
