"""Resources become what each subsystem asks for."""

from pathlib import Path

import pytest

from stead_agent.machines.interface import MachineStatus, OffReason, Power
from stead_agent.reconcile import translate
from stead_agent.reconcile.plan import VpcPicture, picture_vpc
from stead_agent.volumes.interface import BaseSource, VolumeSource
from stead_agent.wanted import key_of
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make


def _picture(*resources: pb.Resource) -> VpcPicture:
    return picture_vpc({key: each for each in resources if (key := key_of(each))}, {}, [])


def test_a_vpc_for_the_network() -> None:
    picture = _picture(make.subnet(), make.interface("eni-1", "i-1", public="198.18.0.7"))
    vpc = translate.vpc_network(make.vpc(), picture, translate.VpcSettings(mtu=1450), translate.Memory())
    assert (vpc.vpc_id, vpc.vni, vpc.cidrs, vpc.mtu) == ("vpc-1", 1, ("10.1.0.0/16",), 1450)
    assert [(each.id, each.cidr) for each in vpc.subnets] == [("subnet-1", "10.1.0.0/20")]
    assert vpc.interfaces[0].addresses == ("10.1.0.5",)
    assert vpc.interfaces[0].public_addresses[0].public == "198.18.0.7"


def test_a_vpc_for_the_firewall() -> None:
    group = make.group(members=("10.1.0.5", "10.1.0.6"))
    group.security_group.rules.append(
        pb.SecurityGroupRule(id="sgr-g", protocol="udp", from_port=53, to_port=53, group_id="sg-2")
    )
    picture = _picture(make.subnet(), group, make.interface("eni-1", "i-1"))
    vpc = translate.vpc_firewall(make.vpc(), picture, translate.Memory())
    assert [rule.peer for rule in vpc.groups[0].rules] == ["0.0.0.0/0", "0.0.0.0/0", "sg-2"]
    assert [rule.egress for rule in vpc.groups[0].rules] == [False, True, False]
    assert vpc.groups[0].members == {"10.1.0.5", "10.1.0.6"}
    assert vpc.subnets[0].internet
    assert vpc.interfaces[0].subnet_link == vpc.subnets[0].link
    assert vpc.resolvers == {"169.254.169.253", "10.1.0.2"}


def test_without_dns_nobody_resolves() -> None:
    vpc = make.vpc()
    vpc.vpc.dns_support = False
    memory = translate.Memory()
    wanted = translate.vpc_dhcp(vpc, _picture(make.subnet()), Path("/ns"), translate.VpcSettings(), memory)
    assert wanted.dns_servers == ()
    assert wanted.resolver_addresses == ()
    assert translate.vpc_firewall(vpc, _picture(make.subnet()), memory).resolvers == frozenset()


def test_dhcp_hands_out_the_vpcs_resolver() -> None:
    settings = translate.VpcSettings(mtu=1450, upstreams=("9.9.9.9",))
    picture = _picture(make.subnet(), make.interface("eni-1", "i-1"))
    wanted = translate.vpc_dhcp(make.vpc(), picture, Path("/ns"), settings, translate.Memory())
    assert wanted.dns_servers == ("10.1.0.2",)
    assert (wanted.mtu, wanted.upstreams, wanted.domain) == (1450, ("9.9.9.9",), "internal")
    assert wanted.subnets[0].gateway == "10.1.0.1"
    assert (wanted.hosts[0].address, wanted.hosts[0].name) == ("10.1.0.5", "ip-10-1-0-5.internal")


def test_only_what_changed_is_translated_again() -> None:
    memory, group = translate.Memory(), make.group()
    first = translate.vpc_firewall(make.vpc(), _picture(group), memory).groups[0]
    assert translate.vpc_firewall(make.vpc(), _picture(group), memory).groups[0] is first
    assert translate.vpc_firewall(make.vpc(), _picture(make.group(port=80)), memory).groups[0] is not first


def test_a_machine() -> None:
    resources = [make.volume("vol-1", iops=100), make.volume("vol-2"), make.interface("eni-1", "i-1")]
    known = {each.id: each for each in resources}
    base = BaseSource(Path("/images/ami-1"), "raw")
    sources = {
        "vol-1": VolumeSource(Path("/v/1"), "qcow2", base, block_device=False),
        "vol-2": VolumeSource(Path("/v/2"), "raw", None, block_device=True),
    }
    wanted = make.machine("i-1", volumes=("vol-1", "vol-2"), interfaces=("eni-1",))
    known["vol-1"].volume.throughput = 125
    spec = translate.machine_spec(wanted, known, sources)
    assert (spec.id, spec.vcpus, spec.memory, spec.instance_type) == ("i-1", 1, make.GIB, "t3.micro")
    assert [disk.volume_id for disk in spec.disks] == ["vol-1", "vol-2"]
    assert (spec.disks[0].iops, spec.disks[0].throughput) == (100, 125 << 20)
    assert spec.disks[0].base is not None
    assert spec.disks[1].block_device
    assert spec.nics[0].mac_address == "02:00:00:00:01:05"
    assert spec.nics[0].bridge.startswith("stb")


def test_nics_are_in_the_order_of_their_device_index() -> None:
    known = {name: make.interface(name, "i-1", number=at) for at, name in enumerate(("eni-1", "eni-2"))}
    wanted = make.machine("i-1", volumes=(), interfaces=("eni-1", "eni-2"))
    wanted.machine.interfaces[0].device_index, wanted.machine.interfaces[1].device_index = 1, 0
    assert [nic.interface_id for nic in translate.machine_spec(wanted, known, {}).nics] == ["eni-2", "eni-1"]


@pytest.mark.parametrize("word", ["vmdk", "", "QCOW2"])
def test_other_formats_are_refused(word: str) -> None:
    image = make.image()
    image.image.format = word
    with pytest.raises(translate.Untranslatable):
        translate.image_base(image)


def test_other_boot_modes_are_refused() -> None:
    wanted = make.machine("i-1", volumes=(), interfaces=())
    wanted.machine.boot_mode = "coreboot"
    with pytest.raises(translate.Untranslatable):
        translate.machine_spec(wanted, {}, {})


def test_a_guests_metadata() -> None:
    wanted = make.machine("i-1", volumes=("vol-1", "vol-2"), interfaces=("eni-1",))
    words = wanted.machine.metadata
    words.public_hostname = "ec2-198-18-0-7.compute.internal"
    words.options.tokens_required = True
    words.options.enabled = True
    words.options.hop_limit = 3
    known = {"eni-1": make.interface("eni-1", "i-1"), "subnet-1": make.subnet(), "vpc-1": make.vpc()}
    guest = translate.guest(wanted, known)
    assert guest.user_data is None
    assert (guest.root_device_name, guest.ebs_device_names) == ("/dev/sda", ("/dev/sdb",))
    assert guest.interfaces[0].subnet_cidr_block == "10.1.0.0/20"
    assert guest.interfaces[0].vpc_cidr_blocks == ("10.1.0.0/16",)
    assert guest.interfaces[0].public_dns_name == words.public_hostname
    assert guest.options.http_tokens_required
    assert guest.options.http_put_response_hop_limit == 3
    words.has_user_data = True
    assert translate.guest(wanted, known).user_data == b""


@pytest.mark.parametrize("reason", OffReason)
@pytest.mark.parametrize("power", Power)
def test_every_power_has_a_word(power: Power, reason: OffReason) -> None:
    told = translate.machine_status(MachineStatus("i-1", power, 4, 2, reason))
    if power is Power.UNKNOWN:
        assert told is None
        return
    assert told is not None
    assert (told.start_count, told.reboot_count) == (4, 2)
    assert told.power != host_pb2.MACHINE_POWER_UNSPECIFIED
    if power is not Power.OFF:
        assert told.off_reason == host_pb2.OFF_REASON_UNSPECIFIED
