"""What a host says of itself becomes its row, and the room it offers."""

from datetime import datetime

from stead_controller.db.session import Transaction
from stead_controller.db.tables import Host
from stead_controller.hosts import desired_state
from stead_controller.resources.cloud import Cloud
from stead_proto.v1 import host_pb2 as pb


def take_facts(tx: Transaction, host_id: str, hello: pb.Hello, cloud: Cloud, now: datetime) -> bool:
    """Note a host's facts and that it is up; False when the host is not known (any more).

    Room is what the facts offer after overcommit, less what is reserved; a host that shrank offers no new room.
    """
    host = tx.session.get(Host, host_id)
    if host is None:
        return False
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
    desired_state.refresh_host_network(tx, host_id, cloud.public_pools)
    return True
