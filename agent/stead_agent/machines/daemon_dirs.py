"""Where libvirt's QEMU daemon stores the state of its guests."""

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DaemonDirs:
    """The directories in which libvirt's QEMU daemon stores its guests' state."""

    runtime: Path = Path("/run/libvirt/qemu")  # their process ids
    state: Path = Path("/var/lib/libvirt/qemu")  # a directory for each running guest
    tpms: Path = Path("/var/lib/libvirt/swtpm")  # a directory for each guest with a TPM, by its UUID
    tpm_logs: Path = Path("/var/log/swtpm/libvirt/qemu")  # a file for each guest with a TPM, also when it is removed

    def clear(self, machine_id: str) -> None:
        """Remove what libvirt removes itself, except when the guest went down with its host or with libvirtd."""
        for left in self.state.glob(f"domain-*-{machine_id}"):
            shutil.rmtree(left)
        for left in self.runtime.glob(f"channel/*-{machine_id}"):
            shutil.rmtree(left)
        (self.tpm_logs / f"{machine_id}-swtpm.log").unlink(missing_ok=True)
