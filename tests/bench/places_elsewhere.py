"""What a place elsewhere in a shared VPC costs its host: the agent's own work, without gRPC, in one process.

    python -m tests.bench.places_elsewhere [--vpcs 10] [--messages 200]

An agent on a simulated host has a guest in each of some VPCs, and few or many places elsewhere are known in each. Then
messages come with new places, of one VPC or of several, as the controller collects them. CPU microseconds for each place,
from a message's bytes until nothing is left to do, the least of several rounds: other work of the machine only adds to it.
"""

import argparse
import time
from typing import Final

from stead_agent.desired import ForgetfulStore
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench

PRESENT: Final = (100, 1000)
AT_ONCE: Final = ((1, 1), (5, 1), (20, 10))  # places in a message, and of how many VPCs they are
ROUNDS: Final = 5


class Host:
    """A host with a guest in each VPC, and how much of the processor it took for messages."""

    def __init__(self, vpcs: int, present: int) -> None:
        self._vpcs = vpcs
        self._revision = 0
        self._places = 0
        self._bench = Bench(store=ForgetfulStore())
        self._bench.host.world.watcher = None
        resources = [make.host_network(), make.base()]
        for number in range(vpcs):
            resources += _vpc(number)
        self._bench.settle(host_pb2.DesiredState.FromString(self._message(resources, full=True)))
        assert self._bench.reached == self._revision
        for number in range(vpcs):
            self._take(self._message([self._place(number) for _ in range(present)]))

    def cost(self, messages: int, places: int, vpcs: int) -> float:
        """Return the seconds of the processor for each new place."""
        at = iter(range(messages * places))
        prepared = [
            self._message([self._place(next(at) % vpcs + number % self._vpcs) for _ in range(places)])
            for number in range(messages)
        ]
        began = time.process_time()
        for each in prepared:
            self._take(each)
        spent = time.process_time() - began
        assert self._bench.reached == self._revision
        return spent / (messages * places)

    def _take(self, message: bytes) -> None:
        """Do what a message asks for, and report it."""
        self._bench.tell(host_pb2.DesiredState.FromString(message))
        self._bench.work()

    def _message(self, resources: list[pb.Resource], *, full: bool = False) -> bytes:
        self._revision += 1
        for each in resources:
            each.revision = self._revision
        state = host_pb2.DesiredState(
            revision=self._revision, full=full, resources=resources, epoch="1", patient=not full
        )
        return state.SerializeToString()

    def _place(self, number: int) -> pb.Resource:
        """A new place in a VPC, as the controller tells it."""
        self._places += 1
        number %= self._vpcs
        address = f"10.{number}.{self._places >> 8 & 255}.{self._places & 255}"
        name = f"ip-{address.replace('.', '-')}.ec2.internal"
        body = pb.Mapping(
            vpc_id=f"vpc-{number:017x}",
            subnet_id=f"subnet-{number:017x}",
            mac_address=f"02:00:00:{self._places >> 16 & 255:02x}:{self._places >> 8 & 255:02x}:{self._places & 255:02x}",
            addresses=[address],
            host_address=f"192.0.2.{self._places % 250}",
            security_group_ids=[f"sg-{number:017x}"],
            private_dns_name=name,
            public_dns_name=f"ec2-198-18-{self._places >> 8 & 255}-{self._places & 255}.compute.internal",
            source_dest_check=True,
            resource_name=f"i-{self._places:017x}.ec2.internal",
            resource_name_addresses=[address],
        )
        return pb.Resource(id=f"eni-{self._places:017x}", mapping=body)


def _vpc(number: int) -> list[pb.Resource]:
    """A VPC with a guest on this host, whose group lets its own members in."""
    vpc, subnet, group = f"vpc-{number:017x}", f"subnet-{number:017x}", f"sg-{number:017x}"
    interface, machine, volume = f"eni-f{number:016x}", f"i-f{number:016x}", f"vol-{number:017x}"
    place = make.interface(interface, machine, vpc_id="vpc-1")
    place.interface.vpc_id, place.interface.subnet_id = vpc, subnet
    place.interface.security_group_ids[:] = [group]
    place.interface.bandwidth.vpc_id = vpc
    return [
        make.vpc(vpc, number=number),
        make.subnet(subnet, vpc, number=number),
        make.route_table(
            pb.Route(destination="0.0.0.0/0", internet_gateway=True), table_id=f"rtb-{number}", vpc_id=vpc
        ),
        make.group(group, vpc, peer=group),
        make.volume(volume),
        place,
        make.machine(machine, volumes=(volume,), interfaces=(interface,)),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vpcs", type=int, default=10)
    parser.add_argument("--messages", type=int, default=200)
    options = parser.parse_args()
    for present in PRESENT:
        host = Host(options.vpcs, present)
        for places, vpcs in AT_ONCE:
            spent = min(host.cost(options.messages // places or 1, places, vpcs) for _ in range(ROUNDS))
            each = f"{present} places in each of {options.vpcs} VPCs, messages of {places} in {vpcs}"
            print(f"{each}: {spent * 1e6:.0f} us of CPU for a place", flush=True)


if __name__ == "__main__":
    main()
