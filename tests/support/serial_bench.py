"""A private libvirtd with machines of the micro image and a shell on each, for benchmarks of disks."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import libvirt_qemu

from stead_agent.disks.disk_sources import FileSource, Format, Layer
from stead_agent.machines.daemon_dirs import DaemonDirs
from stead_agent.machines.interface import Disk, MachineSpec
from stead_agent.machines.libvirt_machines import LibvirtMachines
from stead_agent.programs.run import run
from tests.support import micro, private_libvirtd
from tests.support.serial_shell import with_shell


class Shell(Protocol):
    """A root shell of a guest."""

    def run(self, command: str, seconds: float = 60.0) -> str:
        """Type a command and wait for its end; return its output."""


def settle(shell: Shell) -> None:
    """Wait until a guest gives up looking for a network, which it lacks: until then that takes CPU time.

    How much depends on how long ago it was started, so two guests could not be compared.
    """
    assert "settled" in shell.run("pkill -9 -f stead/instance; pkill -0 -f stead/instance || echo settled"), (
        "it goes on"
    )


class SerialBench:
    """Machines without networks, below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.daemon = private_libvirtd.ensure_running(root)
        self.disks = root / "disks"
        self.disks.mkdir(mode=0o711)
        self.image = with_shell(micro.build(), self.disks / "shell.raw")
        self.image.chmod(0o444)
        self._count = 0
        self.machines = LibvirtMachines(
            self.daemon.uri,
            root / "agent",
            owner="bench",
            virtualization="qemu",
            dirs=DaemonDirs(root / "run" / "qemu", root / "lib" / "qemu"),
        )

    def disk(
        self, size: int, base: Path | None = None, layer: Layer | None = None, base_format: Format = "raw"
    ) -> Disk:
        """Make a disk, blank or with a backing file, which QEMU may open in another way than by its path."""
        self._count += 1
        path = self.disks / f"vol-{self._count:017x}.qcow2"
        below = ["-F", base_format, "-b", base] if base is not None else []
        run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", *below, path, str(size)], timeout=60)
        if base is not None and layer is None:
            layer = Layer(FileSource(base), base_format)
        return Disk(path.stem, FileSource(path), "qcow2", layer)

    def spec(self, *disks: Disk) -> MachineSpec:
        """Return the specification of a machine with these disks."""
        self._count += 1
        return MachineSpec(f"i-{self._count:017x}", 1, 96 << 20, disks, ())

    def monitor(self, machine_id: str, command: str, **arguments: Any) -> Any:
        """Run a QMP command of a guest's QEMU."""
        with self.machines.domain(machine_id) as domain:
            reported = libvirt_qemu.qemuMonitorCommand(
                domain,
                json.dumps({"execute": command, "arguments": arguments}),
                libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT,
            )
        return json.loads(reported)["return"]


@contextlib.contextmanager
def serial_bench() -> Iterator[SerialBench]:
    """Yield a bench, and remove all of it at the end."""
    root = Path(f"/var/tmp/stead-bench-{os.getpid()}")
    try:
        bench = SerialBench(root)
        (root / "agent").mkdir(mode=0o711, exist_ok=True)
        try:
            yield bench
        finally:
            for machine_id in bench.machines.present():
                bench.machines.remove(machine_id)
            bench.machines.close()
    finally:
        private_libvirtd.stop(root)
        shutil.rmtree(root)
