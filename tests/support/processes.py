"""A Stead program as a child process: start it on free ports, kill it at any time, read its log for the report."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stead_proto.limits import EXPORT_PORTS
from tests.support import loaded_programs

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[2]


_PORTS = range(10_000, 65_536)
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")  # ip_sysctl.rst


def free_ports(count: int) -> list[int]:
    """Return free ports; all are held open until the last is found, so that they differ.

    They are chosen at random, so that other tests get others, outside the kernel's range for outgoing connections and
    outside that of volume exports, in which a host's firewall lets no guest in.
    """
    first, last = (int(word) for word in _EPHEMERAL.read_text(encoding="ascii").split())
    usable = [port for port in _PORTS if not first <= port <= last and port not in EXPORT_PORTS]
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        for port in random.Random(os.urandom(16)).sample(usable, len(usable)):
            try:
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue  # in use
            ports.append(port)
            if len(ports) == count:
                return ports
    raise AssertionError(f"{count} ports are not free")


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's environment without the variables that point AWS clients or Stead elsewhere."""
    remaining = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "STEAD_"))}
    # All test runs on a machine share the cache of built images and packages; no packet may leave by the uplink.
    cache = {"STEAD_CACHE_DIR": os.environ["STEAD_CACHE_DIR"]} if "STEAD_CACHE_DIR" in os.environ else {}
    return {**remaining, "STEAD_UPLINK": "none", **cache, **extra}


@dataclass
class Child:
    """A program and its log; `start` may be called again after it has exited."""

    name: str
    command: Sequence[str | Path]
    log: Path
    environment: Mapping[str, str] = field(default_factory=clean_environment)
    process: "subprocess.Popen[bytes] | loaded_programs.Process | None" = None

    def start(self) -> None:
        """Start it; its output is appended to the log."""
        assert not self.runs(), f"{self.name} runs already"
        command = [str(word) for word in self.command]
        self.process = loaded_programs.start(command, self.environment, self.log)
        if self.process is None:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=dict(self.environment),
                    start_new_session=True,
                )

    def runs(self) -> bool:
        """Tell whether it runs."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """Kill it as a power failure would: it gets no chance to react."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)

    def stop(self, seconds: float = 30.0) -> None:
        """Terminate it; it must exit in time."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end on SIGTERM in {seconds:g} s:\n{self.tail()}") from None

    def check(self) -> None:
        """Fail with the end of its log if it does not run."""
        assert self.runs(), f"{self.name} ended:\n{self.tail()}"

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
