"""Convert the bandwidth of instances into shapers, which all interfaces of an instance share: pure.

A type promises a baseline, and a burst for whoever has used less than the baseline before. So a shaper sends at the
burst until what was saved is spent, then at the baseline: the kernel counts it, whether or not an agent runs.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-network-bandwidth.html
"""

from typing import Final

from stead_agent.network.interface import Bandwidth, LocalInterface, VpcNetwork
from stead_agent.network.kernel_objects import KernelObject, Place, Setting, Shaper, Up
from stead_agent.network.traffic_control import LATE_MS
from stead_proto.ids import link_name

INTO_PREFIX: Final = "stn"  # host namespace: the ifb link that all packets to an instance pass
OUT_OF_PREFIX: Final = "sto"  # the same for all packets from it
SAVED_MS: Final = 240_000
"""What an instance saves at most, in milliseconds of its baseline; a class of tc-htb(8) can have 274 s."""

_LINK_HEADER: Final = 14  # of Ethernet; the kernel counts it, a type's figure is of IP packets of the largest size
_BITS: Final = 8


def shaper_names(bandwidth: Bandwidth) -> tuple[str, str]:
    """Return the names of an instance's shapers: of what it gets, and of what it sends."""
    return link_name(INTO_PREFIX, bandwidth.instance_id), link_name(OUT_OF_PREFIX, bandwidth.instance_id)


def shapers_of(interface: LocalInterface) -> tuple[str, str]:
    """Return the names of the shapers of an interface's instance; empty when it is not limited."""
    return shaper_names(interface.bandwidth) if interface.bandwidth is not None else ("", "")


def limited(vpc: VpcNetwork) -> dict[str, Bandwidth]:
    """Return the bandwidths of the instances whose shapers a VPC has, by instance."""
    found = (each.bandwidth for each in vpc.interfaces)
    return {each.instance_id: each for each in found if each is not None and each.vpc_id == vpc.vpc_id}


def shaper_objects(vpc: VpcNetwork, alias: str) -> list[KernelObject]:
    """Convert the bandwidths of a VPC's instances on this host; `alias` is of links of the VPC."""
    objects: list[KernelObject] = []
    for instance_id, bandwidth in limited(vpc).items():
        rate, ceil = (
            mbps * 1_000_000 * (vpc.mtu + _LINK_HEADER) // (vpc.mtu * _BITS)
            for mbps in (bandwidth.baseline_mbps, max(bandwidth.baseline_mbps, bandwidth.burst_mbps))
        )
        saved = SAVED_MS if ceil > rate else LATE_MS
        for name in shaper_names(bandwidth):
            objects += [
                Shaper(name, f"{alias} {instance_id}", rate, ceil, saved),
                Setting(Place.HOST, f"net/ipv6/conf/{name}/disable_ipv6", "1", name),
                Up(Place.HOST, name),
            ]
    return objects
