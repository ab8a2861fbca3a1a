"""Which guests are registered with the metadata service in which VPC; the newest data about a guest wins."""

import threading

from stead_agent.metadata.interface import Guest, MetadataService


class GuestBook:
    """Guests as metadata knows them. VPCs and machines are reconciled by different threads; both register guests.

    The service may outlive the agent: what it served before counts as older than any data of this agent.
    """

    def __init__(self, service: MetadataService) -> None:
        self._service = service
        self._lock = threading.Lock()
        # By instance, by VPC; None: as an earlier agent registered it.
        self._known: dict[str, dict[str, tuple[int, Guest | None]]] = {}
        self._has_adopted = False

    def is_current(self, guest: Guest) -> bool:
        """Tell whether a guest is registered with its current data in all of its VPCs, and in no others."""
        with self._lock:
            self._adopt()
            known = self._known.get(guest.instance_id, {})
            return _vpcs_of(guest) == known.keys() and all(last == guest for _, last in known.values())

    def put(self, order: int, guest: Guest) -> None:
        """Register a guest in all its VPCs, unless data with a higher order number was registered before."""
        with self._lock:
            self._adopt()
            known = self._known.setdefault(guest.instance_id, {})
            vpc_ids = _vpcs_of(guest)
            for vpc_id in vpc_ids:
                if known.get(vpc_id, (0, None))[0] <= order:
                    self._service.put(vpc_id, guest)
                    known[vpc_id] = (order, guest)
            for vpc_id in [each for each, (last, _) in known.items() if each not in vpc_ids and last <= order]:
                self._service.remove(vpc_id, guest.instance_id)
                del known[vpc_id]

    def remove(self, instance_id: str) -> None:
        """Forget a guest everywhere."""
        with self._lock:
            self._adopt()
            for vpc_id in self._known.pop(instance_id, {}):
                self._service.remove(vpc_id, instance_id)

    def withdraw(self, vpc_id: str) -> None:
        """Stop serving a VPC and forget its guests."""
        with self._lock:
            self._adopt()
            self._service.withdraw(vpc_id)
            for known in self._known.values():
                known.pop(vpc_id, None)

    def _adopt(self) -> None:
        """Load, once, what the service had from an earlier agent; the lock is held."""
        if self._has_adopted:
            return
        for vpc_id, instance_ids in self._service.present().items():
            for instance_id in instance_ids:
                self._known.setdefault(instance_id, {})[vpc_id] = (0, None)
        self._has_adopted = True


def _vpcs_of(guest: Guest) -> set[str]:
    return {each.vpc_id for each in guest.interfaces}
