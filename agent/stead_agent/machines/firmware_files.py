"""The files of what UEFI guests store beside their disks: variables, which are ours, and states of TPMs, of swtpm.

A guest that starts on another host than before finds there what it had stored: the controller has it meanwhile. The
state of a TPM is encrypted with a key that only the guest's host and the controller have, in the file as on the way.
"""

from pathlib import Path
from typing import Final

from stead_agent.machines.daemon_dirs import DaemonDirs
from stead_agent.machines.firmware import VariableStores
from stead_agent.machines.host_access import remove_private, write_private
from stead_agent.machines.interface import FirmwareState
from stead_agent.machines.life import uuid_of
from stead_proto import limits

_TPM_STATE: Final = Path("tpm2") / "tpm2-00.permall"


class FirmwareFiles:
    """Implements `FirmwareStates` with the files of this host."""

    def __init__(self, state_dir: Path, tpms: Path | None = None) -> None:
        """Use the agent's folder, and `tpms`: libvirt's, a directory for each guest by its UUID."""
        self._variables = VariableStores(state_dir / "firmware")
        self._tpms = tpms or DaemonDirs().tpms

    def read(self, machine_id: str, *, tpm: bool) -> FirmwareState | None:
        """Read what a guest has stored; None if not all of it is there, or it is too much to be sent."""
        variables = self._variables.read(machine_id)
        if variables is None:
            return None
        try:
            state = (self._tpm(machine_id) / _TPM_STATE).read_bytes() if tpm else b""
        except FileNotFoundError:
            return None
        return FirmwareState(variables, state) if len(variables) + len(state) <= limits.FIRMWARE_BYTES else None

    def lay(self, machine_id: str, state: FirmwareState) -> None:
        """Write what a guest had stored on another host; libvirt gives a TPM's state to the user of its emulator."""
        self._variables.replace(machine_id, state.variables)
        if state.tpm:
            path = self._tpm(machine_id) / _TPM_STATE
            for folder in (self._tpms, path.parent.parent):
                folder.mkdir(mode=0o711, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_private(path, state.tpm, 0)

    def remove(self, machine_id: str) -> None:
        """Remove a guest's variables and the state of its TPM."""
        self._variables.remove(machine_id)
        remove_private(self._tpm(machine_id))

    def _tpm(self, machine_id: str) -> Path:
        return self._tpms / str(uuid_of(machine_id))
