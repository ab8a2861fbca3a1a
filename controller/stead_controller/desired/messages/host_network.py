"""Builds the `HostNetwork` of each host from the cloud's pools and hosts, as the bytes of a `Resource`."""

from collections.abc import Iterable, Mapping

from stead_controller.desired.messages.body import encode
from stead_controller.request.cloud import Cloud
from stead_proto.v1 import desired_pb2 as pb


def of_host_networks(
    resource_id: str, cloud: Cloud, pool_addresses: Mapping[str, str], underlay_addresses: Iterable[str]
) -> dict[str, bytes]:
    """By host, the public pools, its own address in them, and all hosts' addresses; `pool_addresses` by host, too.

    What all hosts have in common is encoded once, or the work would grow with the square of their number: concatenated
    encoded messages are read as their union (https://protobuf.dev/programming-guides/encoding/#last-one-wins).
    """
    shared = pb.HostNetwork(
        public_pools=cloud.public_pools, ipv6_pools=[cloud.ipv6_pool], underlay_addresses=underlay_addresses
    )
    for_all = encode(resource_id, shared)
    return {
        host_id: for_all + pb.Resource(host_network=pb.HostNetwork(host_address=address)).SerializeToString()
        for host_id, address in pool_addresses.items()
    }
