"""The firmware that guests boot by: which this host has, and the variables of a UEFI guest.

All UEFI guests of an architecture run the same build of EDK II, which checks signatures as soon as a guest's variables
have a platform key. That of x86_64, OVMF, protects them by system management mode, which only `q35` machines have; on
arm64 the guest's kernel can write them.
"""

import os
import shutil
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead_agent.machines.host_access import remove_private, write_private
from stead_agent.machines.interface import MachineError


@dataclass(frozen=True, slots=True)
class Build:
    """A build of the firmware, and a variable store of the size that it wants, without any key."""

    code: Path
    no_variables: Path


OVMF: Final = Build(Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd"))
AAVMF: Final = Build(Path("/usr/share/AAVMF/AAVMF_CODE.secboot.fd"), Path("/usr/share/AAVMF/AAVMF_VARS.fd"))
BUILDS: Final = {"x86_64": OVMF, "arm64": AAVMF}
"""By EC2's name of the architecture."""

_PROGRAMS_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"


def boot_modes() -> tuple[str, ...]:
    """Return EC2's names of the boot modes that x86_64 guests of this host may have."""
    has_uefi = OVMF.code.exists() and OVMF.no_variables.exists()
    return ("legacy-bios", "uefi") if has_uefi else ("legacy-bios",)


def has_tpm() -> bool:
    """Tell whether guests of this host may have a TPM: the emulator, and what makes its first state."""
    return all(shutil.which(name, path=_PROGRAMS_PATH) for name in ("swtpm", "swtpm_setup"))


class VariableStores:
    """The variables of this host's UEFI guests: a directory for each, by its id, until the guest is removed."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, made when it is needed."""
        self._folder = folder

    def path(self, machine_id: str) -> Path:
        """Return the file of a guest's variables, which may not exist."""
        return self._folder / machine_id / "vars.fd"

    def prepare(self, machine_id: str, uid: int, build: Build, first: bytes = b"") -> None:
        """Make a guest's variables, owned by its user, unless it has some of an earlier start.

        `first` are those with which it begins, as a zlib stream; without any it has no key. Raises MachineError for
        what is no store of the size that the firmware has.
        """
        path = self.path(machine_id)
        if path.exists():
            os.chown(path, uid, 0)  # libvirt may have taken it back at the last stop
            return
        self._write(path, _store([build], first), uid)

    def read(self, machine_id: str) -> bytes | None:
        """Return a guest's variables as a zlib stream; None when it has none."""
        try:
            return zlib.compress(self.path(machine_id).read_bytes())
        except FileNotFoundError:
            return None

    def replace(self, machine_id: str, variables: bytes) -> None:
        """Give a guest other variables, as a zlib stream, which the next start gives its user; raises as `prepare`."""
        builds = [build for build in BUILDS.values() if build.no_variables.exists()]
        if not builds:
            raise MachineError("this host has no UEFI firmware for guests")
        self._write(self.path(machine_id), _store(builds, variables), 0)

    def _write(self, path: Path, content: bytes, uid: int) -> None:
        self._folder.mkdir(mode=0o711, exist_ok=True)
        path.parent.mkdir(mode=0o711, exist_ok=True)
        write_private(path, content, uid)

    def remove(self, machine_id: str) -> None:
        """Remove a guest's variables, if it has any."""
        remove_private(self._folder / machine_id)


def _store(builds: Collection[Build], first: bytes) -> bytes:
    """Return a store of the size of one of these builds; without a stream the one with which a guest of it begins."""
    if not first:
        return next(iter(builds)).no_variables.read_bytes()
    sizes = {build.no_variables.stat().st_size for build in builds}
    reader = zlib.decompressobj()
    try:
        store = reader.decompress(first, max(sizes) + 1)
    except zlib.error as error:
        raise MachineError(f"the UEFI variables are no zlib stream: {error}") from error
    if len(store) not in sizes:
        raise MachineError(f"the UEFI variables are no store of {' or '.join(map(str, sorted(sizes)))} bytes")
    return store
