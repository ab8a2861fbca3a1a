"""The desired state of one host, changed in revisions: tests of the agent send it instead of a controller.

`Sender` numbers the changes as the controller does and can repeat them, send everything, or go back in time.
"""

from stead_agent.wanted import Key, key_of
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1.host_pb2 import DesiredState

GIB = 1 << 30


def host_network(*pools: str) -> pb.Resource:
    return pb.Resource(id="host-network", host_network=pb.HostNetwork(public_pools=pools or ("198.18.0.0/24",)))


def base(base_id: str = "snap-1") -> pb.Resource:
    return pb.Resource(id=base_id, base=pb.Base(size=GIB, stored_size=GIB // 2))


def volume(volume_id: str, *, base_id: str = "snap-1", size: int = GIB, iops: int = 0) -> pb.Resource:
    return pb.Resource(id=volume_id, volume=pb.Volume(size=size, base_id=base_id, volume_type="gp3", iops=iops))


def vpc(vpc_id: str = "vpc-1", *, number: int = 1) -> pb.Resource:
    body = pb.Vpc(
        vni=number, cidr_blocks=[f"10.{number}.0.0/16"], dns_support=True, dns_hostnames=True, domain_name="internal"
    )
    return pb.Resource(id=vpc_id, vpc=body)


def subnet(subnet_id: str = "subnet-1", vpc_id: str = "vpc-1", *, number: int = 1) -> pb.Resource:
    body = pb.Subnet(vpc_id=vpc_id, cidr_block=f"10.{number}.0.0/20", route_table_id=f"rtb-{number}")
    return pb.Resource(id=subnet_id, subnet=body)


def route_table(*routes: pb.Route, table_id: str = "rtb-1", vpc_id: str = "vpc-1") -> pb.Resource:
    return pb.Resource(id=table_id, route_table=pb.RouteTable(vpc_id=vpc_id, routes=routes))


def mapping(interface_id: str, address: str, *, vpc_id: str = "vpc-1", group_id: str = "sg-1") -> pb.Resource:
    body = pb.Mapping(vpc_id=vpc_id, addresses=[address], security_group_ids=[group_id])
    return pb.Resource(id=interface_id, mapping=body)


def group(group_id: str = "sg-1", vpc_id: str = "vpc-1", *, port: int = 22, peer: str = "") -> pb.Resource:
    rules = [
        pb.SecurityGroupRule(id=f"sgr-{port}", protocol="tcp", from_port=port, to_port=port, cidr_ipv4="0.0.0.0/0"),
        pb.SecurityGroupRule(id="sgr-out", egress=True, protocol="-1", from_port=-1, to_port=-1, cidr_ipv4="0.0.0.0/0"),
    ]
    if peer:
        rules.append(pb.SecurityGroupRule(id="sgr-in", protocol="-1", from_port=-1, to_port=-1, group_id=peer))
    body = pb.SecurityGroup(vpc_id=vpc_id, rules=rules)
    return pb.Resource(id=group_id, security_group=body)


def interface(
    interface_id: str,
    instance_id: str,
    *,
    vpc_id: str = "vpc-1",
    subnet_id: str = "subnet-1",
    group_id: str = "sg-1",
    number: int = 5,
    public: str = "",
    bandwidth: tuple[int, int] | None = (100, 1000),
) -> pb.Resource:
    address = f"10.{vpc_id[-1]}.0.{number}"
    body = pb.Interface(
        vpc_id=vpc_id,
        subnet_id=subnet_id,
        mac_address=f"02:00:00:00:{int(vpc_id[-1]):02x}:{number:02x}",
        private_address=address,
        public_addresses=[pb.PublicAddress(public_address=public, private_address=address)] if public else [],
        security_group_ids=[group_id],
        source_dest_check=True,
        private_dns_name=f"ip-{address.replace('.', '-')}.internal",
        instance_id=instance_id,
    )
    if bandwidth is not None:
        baseline, burst = bandwidth
        body.bandwidth.CopyFrom(pb.Bandwidth(baseline_mbps=baseline, burst_mbps=burst, vpc_id=vpc_id))
    return pb.Resource(id=interface_id, interface=body)


def machine(
    machine_id: str,
    *,
    volumes: tuple[str, ...],
    interfaces: tuple[str, ...],
    power: "pb.Power.ValueType" = pb.POWER_RUNNING,
    start_count: int = 1,
    reboot_count: int = 0,
    force_stop: bool = False,
    stores_since: int = 0,
) -> pb.Resource:
    letters = "abcdefgh"
    body = pb.Machine(
        power=power,
        start_count=start_count,
        reboot_count=reboot_count,
        force_stop=force_stop,
        stores_since=stores_since,
        vcpus=1,
        memory=GIB,
        disks=[pb.MachineDisk(volume_id=each, device_name=f"/dev/sd{letters[at]}") for at, each in enumerate(volumes)],
        interfaces=[pb.MachineInterface(interface_id=each, device_index=at) for at, each in enumerate(interfaces)],
        metadata=pb.Metadata(instance_id=machine_id, instance_type="t3.micro"),
        architecture="x86_64",
        boot_mode="legacy-bios",
        cpu_credits=pb.CpuCredits(unlimited=True, per_hour=12_000, most=288_000, saved_seconds=604_800),
    )
    return pb.Resource(id=machine_id, machine=body)


def launch(name: str = "1", *, vpc_id: str = "vpc-1") -> list[pb.Resource]:
    """The desired state of a host for one instance: `i-<name>` with `vol-<name>` and `eni-<name>`."""
    number = int(vpc_id[-1])
    return [
        base(),
        volume(f"vol-{name}"),
        vpc(vpc_id, number=number),
        subnet(f"subnet-{number}", vpc_id, number=number),
        group(f"sg-{number}", vpc_id),
        interface(
            f"eni-{name}",
            f"i-{name}",
            vpc_id=vpc_id,
            subnet_id=f"subnet-{number}",
            group_id=f"sg-{number}",
            number=4 + int(name),
        ),
        machine(f"i-{name}", volumes=(f"vol-{name}",), interfaces=(f"eni-{name}",)),
    ]


class Sender:
    """The controller's side of one host's desired state."""

    def __init__(self, epoch: str = "epoch-1") -> None:
        self.epoch = epoch
        self.revision = 0
        self.resources: dict[Key, pb.Resource] = {}
        self.removals: dict[Key, pb.Removal] = {}
        self.sent: list[DesiredState] = []

    def change(
        self, *resources: pb.Resource, gone: tuple[Key, ...] = (), force: bool = False, full: bool = False
    ) -> DesiredState:
        """Change resources and remove others in one revision, and return its message."""
        self.revision += 1
        changed = []
        for resource in resources:
            key = key_of(resource)
            assert key is not None
            mine = pb.Resource.FromString(resource.SerializeToString())
            mine.revision = self.resources[key].revision if key in self.resources else 0
            if self.resources.get(key) == mine:
                continue
            mine.revision = self.revision
            self.resources[key] = mine
            self.removals.pop(key, None)
            changed.append(mine)
        removals = []
        for key in gone:
            self.resources.pop(key, None)
            removal = pb.Removal(kind=key.kind, id=key.id, revision=self.revision, force=force)
            self.removals[key] = removal
            removals.append(removal)
        message = DesiredState(revision=self.revision, epoch=self.epoch, resources=changed, removals=removals)
        self.sent.append(message)
        return self.full() if full else message

    def full(self) -> DesiredState:
        """Return the message with the full desired state."""
        return DesiredState(
            revision=self.revision,
            epoch=self.epoch,
            full=True,
            resources=self.resources.values(),
            removals=self.removals.values(),
        )
