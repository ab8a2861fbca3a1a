"""What a host says of itself becomes its row, and the room it offers."""

import enum
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import Host, NetworkInterface, Volume
from stead_controller.hosts import desired_state, host_networks, pools, topics
from stead_controller.resources.cloud import Cloud
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb

_ADDRESS_LENGTH: Final = 45


class Taken(enum.Enum):
    """What a host is to this controller after its Hello."""

    UNKNOWN = "unknown"  # not, or no longer, a host of this cloud
    KNOWN = "known"
    MOVED = "moved"  # other hosts reach it elsewhere than before


def take_facts(tx: Transaction, host_id: str, hello: pb.Hello, cloud: Cloud, now: datetime) -> Taken:
    """Note a host's facts and that it is up. That it MOVED all others must be told (`host_networks`).

    Room is what the facts offer after overcommit, less what is reserved; a host that shrank offers no new room.
    """
    host = tx.session.get(Host, host_id)
    if host is None:
        return Taken.UNKNOWN
    facts = hello.facts
    kept = min(cloud.memory_kept, facts.memory // 10)
    host.hostname = facts.hostname or host.hostname
    host.architecture = facts.architecture or host.architecture
    host.virtualization = facts.virtualization
    host.virtualization_reason = facts.virtualization_reason[:1024]
    host.agent_version = hello.agent_version[:32]
    host.simulated = facts.simulated
    host.cpus = facts.cpus
    host.memory = facts.memory
    host.cpus_free = max(0, int(facts.cpus * cloud.cpu_overcommit) - host.cpus_reserved)
    host.memory_free = max(0, facts.memory - kept - host.memory_reserved)
    host.state = "up"
    host.last_seen = now
    pools.take(tx, host_id, facts.pools)
    moved = host.underlay_address != facts.underlay_address
    if moved:
        host.underlay_address = facts.underlay_address[:_ADDRESS_LENGTH]
        _tell_where_interfaces_are(tx, host_id)
        _tell_where_volumes_are(tx, host_id)
    if moved or not host_networks.is_told(tx, host_id):
        host_networks.refresh(tx, host, cloud)
    return Taken.MOVED if moved else Taken.KNOWN


def _tell_where_interfaces_are(tx: Transaction, host_id: str) -> None:
    """Tell all hosts of their VPCs where the interfaces on a host are, whose address has changed."""
    query = select(NetworkInterface.id, NetworkInterface.vpc_id).where(NetworkInterface.host_id == host_id)
    for interface_id, vpc_id in tx.session.execute(query).all():
        topics.refresh_part(tx, desired.KIND_MAPPING, interface_id, vpc_id)


def _tell_where_volumes_are(tx: Transaction, host_id: str) -> None:
    """Tell the hosts that a host serves its volumes, whose address has changed."""
    tx.session.flush()
    served = select(Volume).where(Volume.host_id == host_id, Volume.export_port.is_not(None))
    for volume in tx.session.scalars(served).all():
        desired_state.refresh_volume(tx, volume)
