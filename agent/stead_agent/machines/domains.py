"""The domains of one agent, looked up in libvirt with our record of each and what it has plugged in."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import libvirt

from stead_agent.machines import attach, devices, life, records, taps
from stead_agent.machines.console_log import ConsoleLogs
from stead_agent.machines.domain_xml import is_machine_id
from stead_agent.machines.interface import MachineAbsentError, MachineError


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of ours as libvirt shows it now."""

    handle: Any  # libvirt.virDomain
    record: life.Record
    view: life.View


class Domains:
    """Finds domains by the ids of their machines; libvirt's errors go to the caller."""

    def __init__(self, connection: Callable[[], Any], owner: str, boot_id: str, logs: ConsoleLogs) -> None:
        """`connection` returns the one to libvirt, `owner` is in the records of our domains."""
        self._connection = connection
        self._owner = owner
        self._boot_id = boot_id
        self._logs = logs
        self.volumes_of_hung: Callable[[str], frozenset[str] | None] = lambda _: None
        """What is known of a guest whose QEMU hangs: libvirt would say the same, after half a minute."""
        self.unsure: set[str] = set()
        """Machines that are being started, or whose start's result was lost with the connection."""

    def find(self, machine_id: str) -> Domain | None:
        """Look a machine up; one that is not ours is an error."""
        if not is_machine_id(machine_id):
            raise MachineError(f"not a machine id: {machine_id!r}")
        try:
            domain = self._connection().lookupByName(machine_id)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
        record = records.read(domain)
        if record is None or record.owner != self._owner:
            raise MachineError(f"{machine_id}: a domain of this name exists that is not ours")
        state, reason = domain.state()
        happened = self._logs.exists(machine_id, record.start_count) and machine_id not in self.unsure
        is_active = state != life.State.SHUTOFF
        known = self.volumes_of_hung(machine_id) if is_active else None
        has = devices.plugged(domain) if is_active and known is None else attach.Plugged({})
        full = devices.full_disks(domain, has) if state == life.State.PAUSED and reason == life.PAUSED_IO_ERROR else ()
        dead = frozenset(taps.missing(has.taps))
        volume_ids = has.volume_ids if known is None else known
        view = life.View(is_active, state, reason, self._boot_id, happened, volume_ids, frozenset(full), dead)
        if state == life.State.RUNNING:
            self.unsure.discard(machine_id)
        return Domain(domain, record, view)

    def find_ours(self, machine_id: str) -> Domain | None:
        """Look a machine up; one that is not ours counts as absent."""
        return self.find(machine_id) if self.is_ours(machine_id) else None

    def get(self, machine_id: str) -> Domain:
        """Look up a machine that must exist."""
        found = self.find(machine_id)
        if not found:
            raise MachineAbsentError(f"{machine_id} is not on this host")
        return found

    def running(self, machine_id: str) -> Any:
        """Return libvirt's handle of a guest that must run."""
        found = self.get(machine_id)
        if not found.view.active:
            raise MachineError(f"{machine_id} is off")
        return found.handle

    def is_ours(self, name: str) -> bool:
        """Tell whether a domain exists and was made by this agent."""
        try:
            record = records.read(self._connection().lookupByName(name))
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return False
            raise
        return record is not None and record.owner == self._owner

    def present(self) -> frozenset[str]:
        """List all machines of this agent."""
        names = [domain.name() for domain in self._connection().listAllDomains()]
        return frozenset(name for name in names if is_machine_id(name) and self.is_ours(name))


def write(found: Domain, **changed: Any) -> Domain:
    """Change the record of a machine."""
    record = replace(found.record, **changed)
    records.write(found.handle, record, is_active=found.view.active)
    return replace(found, record=record)
