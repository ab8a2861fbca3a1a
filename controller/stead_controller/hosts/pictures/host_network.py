"""The cloud's pools and hosts become a host's `HostNetwork`."""

from collections.abc import Iterable

from stead_proto.v1 import desired_pb2 as pb


def of_host_network(public_pools: Iterable[str]) -> pb.HostNetwork:
    """The pools of public addresses."""
    return pb.HostNetwork(public_pools=list(public_pools))
