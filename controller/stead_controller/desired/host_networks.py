"""The desired network of each host: the cloud's address pools, and the addresses of the other hosts.

Every host has the addresses of all others, so a new address changes the state of all. Therefore `refresh_all` is not
part of the transaction that stores the address: it is called a moment later, once for all addresses new by then.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import Host, HostResource
from stead_controller.desired import outbox
from stead_controller.desired.messages.host_network import of_host_networks
from stead_controller.request.cloud import Cloud
from stead_proto.v1 import desired_pb2 as pb

HOST_NETWORK: Final = (int(pb.KIND_HOST_NETWORK), "host-network")


def refresh_all(tx: Transaction, cloud: Cloud) -> None:
    """Write the cloud's pools and the addresses of all hosts, as they are now, for all hosts."""
    tx.session.flush()
    hosts = tx.session.execute(select(Host.id, Host.pool_address).order_by(Host.id)).all()
    _write(tx, cloud, {host.id: host.pool_address for host in hosts})


def refresh(tx: Transaction, host: Host, cloud: Cloud) -> None:
    """Write the same for one host."""
    tx.session.flush()
    _write(tx, cloud, {host.id: host.pool_address})


def _write(tx: Transaction, cloud: Cloud, pool_addresses: Mapping[str, str]) -> None:
    bodies = of_host_networks(HOST_NETWORK[1], cloud, pool_addresses, _underlay_addresses(tx))
    outbox.write_each(tx, HOST_NETWORK, bodies)


def with_network(tx: Transaction, host_ids: Iterable[str]) -> set[str]:
    """Return those of these hosts that have a network in their desired state."""
    rows = select(HostResource.host_id).where(
        HostResource.host_id.in_(list(host_ids)),
        HostResource.kind == HOST_NETWORK[0],
        HostResource.resource_id == HOST_NETWORK[1],
    )
    return set(tx.session.scalars(rows))


def _underlay_addresses(tx: Transaction) -> list[str]:
    query = select(Host.underlay_address).where(Host.underlay_address != "").distinct()
    return sorted(tx.session.scalars(query))
