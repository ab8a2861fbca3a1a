"""PCI devices of a simulated host, given to its guests."""

from collections.abc import Collection

from stead_agent.machines.interface import Power
from stead_agent.pci.interface import PciError
from stead_agent.simulated.world import World


class SimulatedPciDevices:
    """Who has which device of a world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def assign(self, machine_id: str, addresses: Collection[str]) -> None:
        """Remember who has them."""
        if not addresses:
            return
        with self._world.call("pci.assign", machine_id) as objects:
            for address in addresses:
                holder = objects.devices.get(address, machine_id)
                if holder != machine_id:
                    raise PciError(f"{holder} still has the device {address}")
            objects.devices.update(dict.fromkeys(addresses, machine_id))

    def release(self, machine_id: str) -> None:
        """Forget it."""
        if machine_id not in self.holders():
            return
        with self._world.call("pci.release", machine_id) as objects:
            guest = objects.guests.get(machine_id)
            if guest is not None and guest.power is not Power.OFF:
                self._world.broken(f"devices taken from running {machine_id}")
            objects.devices = {address: holder for address, holder in objects.devices.items() if holder != machine_id}

    def holders(self) -> frozenset[str]:
        """List the machines that have devices."""
        with self._world.lock:
            return frozenset(self._world.objects.devices.values())
