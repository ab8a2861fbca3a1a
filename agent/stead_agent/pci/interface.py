"""The interface that the rest of the agent uses for PCI devices of this host that guests have.

Every method blocks, is idempotent, and is safe to call from several threads. Errors are `PciError`s.
"""

from collections.abc import Collection
from typing import Protocol


class PciError(Exception):
    """A device could not be given or returned; the message is for the operator."""


class PciDevices(Protocol):
    """Which guest of this host has which of its PCI devices; recorded, so that a new agent knows it too."""

    def assign(self, machine_id: str, addresses: Collection[str]) -> None:
        """Take devices from the host, reset them, and let the machine's guest open them; before each start of it.

        Raises PciError, and changes nothing, for what the operator does not let guests have, for a part of an IOMMU
        group, and for what another machine has.
        """

    def release(self, machine_id: str) -> None:
        """Reset what a machine has, and return it to the host's drivers; its guest must have ended.

        Raises PciError for a device that cannot be reset: no other machine is given it until that was done.
        """

    def holders(self) -> frozenset[str]:
        """List the machines that have devices."""
