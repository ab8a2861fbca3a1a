"""The cloud's pools and hosts become a host's `HostNetwork`."""

from collections.abc import Iterable

from stead_controller.resources.cloud import Cloud
from stead_proto.v1 import desired_pb2 as pb


def of_host_network(cloud: Cloud, pool_address: str, underlay_addresses: Iterable[str]) -> pb.HostNetwork:
    """The pools of public addresses, this host's own of them, and where all hosts are."""
    return pb.HostNetwork(
        public_pools=cloud.public_pools,
        host_address=pool_address,
        ipv6_pools=[cloud.ipv6_pool],
        underlay_addresses=underlay_addresses,
    )
