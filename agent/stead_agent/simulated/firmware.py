"""What simulated UEFI guests store beside their disks: the numbers of their starts, in a TPM too."""

from stead_agent.machines.interface import FirmwareState
from stead_agent.simulated.world import World


class SimulatedFirmware:
    """What the guests of a world have stored."""

    def __init__(self, world: World) -> None:
        self._world = world

    def read(self, machine_id: str, *, tpm: bool) -> FirmwareState | None:
        """Return what a guest has stored."""
        with self._world.lock:
            found = self._world.objects.firmware.get(machine_id)
            return found if found is not None and bool(found.tpm) == tpm else None

    def lay(self, machine_id: str, state: FirmwareState) -> None:
        """Put it there."""
        with self._world.call("firmware.lay", machine_id) as objects:
            objects.firmware[machine_id] = state

    def remove(self, machine_id: str) -> None:
        """Forget it."""
        with self._world.call("firmware.remove", machine_id) as objects:
            objects.firmware.pop(machine_id, None)
