"""One guest under plain QEMU: start it, run commands over SSH, hotplug devices, press its power button."""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from images.trial.network import ADDRESSES, MACS, TAPS


class TrialFailed(Exception):
    """An expectation was not met; the message says which, and what was seen instead."""


def wait_until(condition: Callable[[], bool], seconds: float, what: str, evidence: Callable[[], str] = str) -> None:
    """Return when the condition is true; raise TrialFailed with ``what`` and the evidence after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TrialFailed(f"not within {seconds:g} s: {what}\n{evidence()}")
        time.sleep(0.02)


@dataclass(frozen=True)
class Hardware:
    """What the guest runs on; ``accelerator`` is ``tcg`` or ``kvm``, ``machine`` is ``q35`` or ``pc``."""

    memory_mib: int
    processors: int = 1
    machine: str = "q35"
    accelerator: str = "tcg"


class Machine:
    """A running guest; its serial console goes to a file. Use as a context manager, so that QEMU ends."""

    def __init__(self, hardware: Hardware, disk: Path, folder: Path, key: Path, user: str) -> None:
        """Start QEMU on a qcow2 disk; the console is ``folder``/console.log, ``key`` a private key for ``user``."""
        self.console_path = folder / "console.log"
        self.console_path.write_bytes(b"")
        self._monitor_path = folder / "monitor"
        self._monitor_path.unlink(missing_ok=True)
        self._key = key
        self._user = user
        self._hardware = hardware
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            self._command(disk), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._monitor: socket.socket | None = None

    def _command(self, disk: Path) -> list[str]:
        hardware = self._hardware
        accelerator = "tcg,thread=multi" if hardware.accelerator == "tcg" else hardware.accelerator
        # SMBIOS as the agent sets it: cloud-init detects EC2 by the uuid.
        command = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", f"{hardware.machine},hpet=off", "-accel", accelerator, "-cpu", "max",
            "-m", str(hardware.memory_mib), "-smp", str(hardware.processors),
            "-serial", f"file:{self.console_path}", "-qmp", f"unix:{self._monitor_path},server=on,wait=off",
            "-smbios", "type=1,manufacturer=Amazon EC2,product=t3.micro,uuid=ec2f0000-1111-2222-3333-444444444444",
            "-blockdev", f"driver=file,filename={disk},node-name=file0,cache.no-flush=on",
            "-blockdev", "driver=qcow2,file=file0,node-name=disk0",
            "-device", "virtio-blk-pci,drive=disk0,serial=vol0123456789abcdef0,bootindex=1",
            "-netdev", f"tap,id=net0,ifname={TAPS[0]},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=net0,mac={MACS[0]},romfile=",
            "-device", "virtio-rng-pci",
        ]  # fmt: skip
        if hardware.machine == "q35":
            for number in (1, 2):
                command += ["-device", f"pcie-root-port,id=port{number},chassis={number}"]
        return command

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End QEMU if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._monitor is not None:
            self._monitor.close()

    @property
    def seconds(self) -> float:
        """Seconds since the start of QEMU."""
        return time.monotonic() - self.began

    def console(self) -> str:
        """Return all that the guest wrote to its serial console."""
        return self.console_path.read_text(encoding="utf-8", errors="replace")

    def _console_end(self) -> str:
        return "console ends with:\n" + self.console()[-2000:]

    def wait_for_console(self, words: str, seconds: float) -> float:
        """Return the seconds from start until the words were on the console."""
        wait_until(lambda: words in self.console(), seconds, f"{words!r} on the console", self._console_end)
        return self.seconds

    def wait_for_ssh(self, seconds: float) -> float:
        """Return the seconds from start until SSH sent its banner."""
        wait_until(lambda: self.greets(ADDRESSES[0]), seconds, "SSH banner", self._console_end)
        return self.seconds

    def greets(self, address: str) -> bool:
        """True when the guest's SSH server answers at one of its addresses; raise TrialFailed when QEMU has ended."""
        if self._process.poll() is not None:
            output = self._process.stdout.read().decode() if self._process.stdout else ""
            raise TrialFailed(f"QEMU ended with status {self._process.returncode}: {output}")
        try:
            with socket.create_connection((address, 22), timeout=0.3) as connection:
                connection.settimeout(5)
                return connection.recv(4) == b"SSH-"
        except OSError:  # no server listens yet: the caller tries again until its deadline
            return False

    def ssh(self, command: str, *, user: str | None = None, key: Path | None = None) -> str:
        """Run a shell command in the guest and return its output; raise TrialFailed when its status is not 0."""
        done = subprocess.run(
            [
                "ssh", "-i", str(key or self._key), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
                "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10",
                "-o", "ServerAliveInterval=5", f"{user or self._user}@{ADDRESSES[0]}", command,
            ],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise TrialFailed(f"{command!r} in the guest: status {done.returncode}, {done.stderr}{done.stdout}")
        return done.stdout

    def wait_for_guest(self, command: str, seconds: float) -> None:
        """Return when a shell command in the guest has status 0; it is repeated in one SSH session."""
        self.ssh(f"n=0; until {command}; do n=$((n+1)); [ $n -lt {int(seconds * 10)} ] || exit 1; sleep 0.1; done")

    def monitor(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        """Send QEMU's monitor a QMP command and return the answer; raise TrialFailed on an error."""
        if self._monitor is None:
            self._monitor = socket.socket(socket.AF_UNIX)
            self._monitor.connect(str(self._monitor_path))
            self._lines = self._monitor.makefile("r", encoding="utf-8")
            self._lines.readline()
            self.monitor("qmp_capabilities")
        self._monitor.sendall(json.dumps({"execute": command, "arguments": dict(arguments or {})}).encode())
        for line in self._lines:
            answer = json.loads(line)
            if "error" in answer:
                raise TrialFailed(f"QEMU refuses {command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]
        raise TrialFailed(f"QEMU ended during {command}")

    def plug_interface(self) -> None:
        """Plug the second network interface."""
        self.monitor("netdev_add", {"type": "tap", "id": "net1", "ifname": TAPS[1], "script": "no", "downscript": "no"})
        device = {"driver": "virtio-net-pci", "id": "nic1", "netdev": "net1", "mac": MACS[1]}
        self.monitor("device_add", device | self._slot(1))

    def plug_disk(self, path: Path, serial: str) -> None:
        """Plug a raw file as a further disk with a serial."""
        self.monitor("blockdev-add", {"driver": "file", "filename": str(path), "node-name": "disk1"})
        device = {"driver": "virtio-blk-pci", "id": "blk1", "drive": "disk1", "serial": serial}
        self.monitor("device_add", device | self._slot(2))

    def unplug(self, device: str) -> None:
        """Ask the guest to release a device: ``nic1`` or ``blk1``."""
        self.monitor("device_del", {"id": device})

    def _slot(self, port: int) -> dict[str, str]:
        return {"bus": f"port{port}"} if self._hardware.machine == "q35" else {}

    def press_power_button(self) -> None:
        """Press the ACPI power button."""
        self.monitor("system_powerdown")

    def wait_for_end(self, seconds: float) -> float:
        """Return the seconds from now until the guest has powered off."""
        begin = time.monotonic()
        wait_until(lambda: self._process.poll() is not None, seconds, "machine off", self._console_end)
        return time.monotonic() - begin
