"""Whether the hosts at both ends of a path are up, and have applied their whole desired state."""

from sqlalchemy import select

from stead_controller.db.tables import Host, NetworkInterface
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network.network_facts import RowFacts
from stead_controller.resources.network.network_questions import Asked, find_place
from stead_controller.resources.network.reachability.facts import Interface


def of_ends(tx: Transaction, asked: Asked) -> list[str]:
    """Explain why a host at one of the ends may deviate from the rules; empty when none does.

    Raises as `network_questions.answer` does.
    """
    facts = RowFacts(tx, asked.account_id)
    places = [find_place(tx, facts, asked.account_id, asked.source, asked.source_address)]
    if asked.destination is not None:
        places.append(find_place(tx, facts, asked.account_id, asked.destination, asked.destination_address))
    warnings: list[str] = []
    for place in places:
        if isinstance(place, Interface):
            query = select(Host).join(NetworkInterface, NetworkInterface.host_id == Host.id)
            host = tx.session.scalar(query.where(NetworkInterface.id == place.id))
            warnings += _warnings(place, host) if host is not None else []
    return list(dict.fromkeys(warnings))


def _warnings(interface: Interface, host: Host) -> list[str]:
    named = f"Host {host.hostname} ({host.id}) of {interface.id}"
    if host.state != "up":
        return [f"{named} is {host.state}: it works with its last desired state, and gets no changes."]
    if host.revision_reached < host.revision:
        behind = f"{host.revision_reached} of {host.revision}"
        return [f"{named} has not reported that all changes are made (revision {behind}); the newest may be missing."]
    return []
