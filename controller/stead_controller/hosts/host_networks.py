"""What each host must know of the cloud's network: its pools of addresses, and where the other hosts are.

Every host is told of every other, so a new address of one is news for all. Therefore `refresh_all` is not part of the
transaction that learns the address: it is called a moment later, once for all addresses that are new by then.
"""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import Host, HostResource
from stead_controller.hosts import outbox
from stead_controller.hosts.pictures.host_network import of_host_network
from stead_controller.resources.cloud import Cloud
from stead_proto.v1 import desired_pb2 as pb

HOST_NETWORK: Final = (int(pb.KIND_HOST_NETWORK), "host-network")


def refresh_all(tx: Transaction, cloud: Cloud) -> None:
    """Tell all hosts the cloud's pools and the addresses of all hosts, as they are now."""
    tx.session.flush()
    hosts = tx.session.execute(select(Host.id, Host.pool_address).order_by(Host.id)).all()
    addresses = _underlay_addresses(tx)
    pictures = {host.id: of_host_network(cloud, host.pool_address, addresses) for host in hosts}
    outbox.write_each(tx, HOST_NETWORK, pictures)


def refresh(tx: Transaction, host: Host, cloud: Cloud) -> None:
    """Tell one host the same."""
    tx.session.flush()
    picture = of_host_network(cloud, host.pool_address, _underlay_addresses(tx))
    outbox.write(tx, host.id, {HOST_NETWORK: picture})


def told_of(tx: Transaction, host_ids: Iterable[str]) -> set[str]:
    """Tell which of these hosts were told of the network at all."""
    rows = select(HostResource.host_id).where(
        HostResource.host_id.in_(list(host_ids)),
        HostResource.kind == HOST_NETWORK[0],
        HostResource.resource_id == HOST_NETWORK[1],
    )
    return set(tx.session.scalars(rows))


def _underlay_addresses(tx: Transaction) -> list[str]:
    query = select(Host.underlay_address).where(Host.underlay_address != "").distinct()
    return sorted(tx.session.scalars(query))
