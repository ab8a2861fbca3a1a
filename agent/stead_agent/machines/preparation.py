"""What a guest needs of the host before it starts: its screen's directory, its variables, and rights to open them."""

from pathlib import Path
from typing import Any, Final, Literal

from stead_agent.disks.disk_users import uid_of
from stead_agent.machines import affinity, architectures
from stead_agent.machines.domain_xml import HostSide
from stead_agent.machines.firmware import BUILDS, VariableStores
from stead_agent.machines.host_access import (
    allow_kvm,
    allow_tpms,
    give_disk,
    guests_gid,
    has_topoext,
    make_private,
    remove_private,
)
from stead_agent.machines.interface import MachineError, MachineSpec

# A socket's path has at most 107 bytes (unix(7)); the rest is `/i-0123456789abcdef0/vnc`.
_MOST_SCREENS_PATH: Final = 107 - 24


class Preparation:
    """Prepares the host for guests, and removes what was made for one."""

    def __init__(
        self, state_dir: Path, virtualization: Literal["kvm", "qemu"], tpm_sockets: Path, shared_threads: str = ""
    ) -> None:
        """Make nothing yet; `tpm_sockets` is libvirt's folder. Raises MachineError if `state_dir` has a long path.

        `shared_threads` are those that guests without whole cores may use; empty: all.
        """
        self._shared_threads: Final = shared_threads
        self._screens = state_dir / "screens"
        self._variables = VariableStores(state_dir / "firmware")
        self._virtualization: Final = virtualization
        self._topoext: Final = virtualization == "kvm" and has_topoext()
        self._tpm_sockets = tpm_sockets
        self._gid: int | None = None
        self._emulators: dict[str, architectures.Emulator] = {}
        if len(str(self._screens)) > _MOST_SCREENS_PATH:
            raise MachineError(f"the path of {state_dir} is too long for the sockets below it")

    def prepare(self, live: Any, spec: MachineSpec, console_log: Path) -> HostSide:
        """Let the guest's user open what it needs, and return what the host adds to its domain."""
        virtualization, emulator = self._emulator(live, spec)
        affinity.check_threads(live, spec)
        affinity.check_huge_pages(spec)
        if self._gid is None:
            self._gid = guests_gid(live.getCapabilities())
        uid = uid_of(spec.id)
        if virtualization == "kvm":  # each time: udev may have reset the device's permissions
            allow_kvm(self._gid)
        make_private(self._screens / spec.id, uid)
        if spec.boot_mode == "uefi":
            self._variables.prepare(spec.id, uid, BUILDS[spec.architecture], spec.uefi_variables)
        if spec.tpm:
            allow_tpms(self._gid, self._tpm_sockets)
        for disk in spec.disks:
            give_disk(disk.source, disk.base, uid)
        screen = self._screens / spec.id / "vnc"
        variables = self._variables.path(spec.id)
        return HostSide(
            virtualization,
            self._gid,
            console_log,
            screen,
            variables,
            emulator,
            topoext=self._topoext,
            shared_threads=self._shared_threads,
            keeps_for_emulation=self._virtualization == "qemu",
        )

    def _emulator(self, live: Any, spec: MachineSpec) -> tuple[Literal["kvm", "qemu"], Path]:
        """Return how a guest is run, and by which program; raises MachineError where libvirt knows none."""
        if spec.architecture not in self._emulators:  # libvirt may have learned of a program since
            self._emulators = architectures.emulators(live.getCapabilities())
        found = self._emulators.get(spec.architecture)
        if found is None:
            raise MachineError(f"{spec.id}: libvirt has no emulator for {spec.architecture!r} guests on this host")
        return self._virtualization if spec.architecture == architectures.own() else "qemu", found.path

    def keep_apart(self, domain: Any, spec: MachineSpec) -> None:
        """Move a running guest off the threads that are set apart for others since it started."""
        affinity.renew(domain, spec, self._shared_threads)

    def remove(self, machine_id: str) -> None:
        """Remove what was made for a guest."""
        remove_private(self._screens / machine_id)
        self._variables.remove(machine_id)
