"""Hosts with their instances, of which operators may see what they do now."""

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import select

from stead_controller.db.tables import Host, Instance
from stead_controller.errors import NotFound
from stead_controller.request.transaction import Transaction


@dataclass(frozen=True, slots=True)
class InstanceOnHost:
    """An instance with what it may use; `memory` in bytes."""

    instance_id: str
    account_id: str
    instance_type: str
    vcpus: int
    memory: int


@dataclass(frozen=True, slots=True)
class HostInstances:
    """A host with the instances that are on it, by id."""

    host_id: str
    hostname: str
    is_up: bool
    instances: list[InstanceOnHost]


def hosts_with_instances(tx: Transaction, host_id: str) -> list[HostInstances]:
    """List a host, or with an empty id all of them, by hostname and id; raises NotFound."""
    hosts = select(Host.id, Host.hostname, Host.state).order_by(Host.hostname, Host.id)
    query = select(
        Instance.host_id, Instance.id, Instance.account_id, Instance.instance_type, Instance.vcpus, Instance.memory
    ).where(Instance.host_id.is_not(None), Instance.state != "terminated")
    if host_id:
        hosts, query = hosts.where(Host.id == host_id), query.where(Instance.host_id == host_id)
    found = tx.session.execute(hosts).all()
    if host_id and not found:
        raise NotFound("host", host_id)
    on_host = defaultdict(list)
    for place, instance_id, account_id, instance_type, vcpus, memory in tx.session.execute(query.order_by(Instance.id)):
        on_host[place].append(InstanceOnHost(instance_id, account_id, instance_type, vcpus, memory))
    return [HostInstances(id_, hostname, state == "up", on_host[id_]) for id_, hostname, state in found]
