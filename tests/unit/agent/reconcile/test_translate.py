"""Resources become what each subsystem asks for."""

from base64 import b64decode
from pathlib import Path

import pytest

from stead_agent.disks.disk_sources import BlockSource, FileSource, Layer
from stead_agent.disks.volumes.interface import VolumeSource
from stead_agent.machines.interface import MachineStatus, OffReason, Power
from stead_agent.metadata.interface import MaintenanceEvent
from stead_agent.reconcile import translate
from stead_proto.v1 import desired_pb2, host_pb2
from tests.support import desired_states as make


def test_a_machine() -> None:
    resources = [make.volume("vol-1", iops=100), make.volume("vol-2"), make.interface("eni-1", "i-1")]
    known = {each.id: each for each in resources}
    base = Layer(FileSource(Path("/images/ami-1")), "raw")
    sources = {
        "vol-1": VolumeSource(FileSource(Path("/v/1")), "qcow2", base),
        "vol-2": VolumeSource(BlockSource(Path("/v/2")), "raw", None),
    }
    wanted = make.machine("i-1", volumes=("vol-1", "vol-2"), interfaces=("eni-1",))
    wanted.machine.vcpus, wanted.machine.threads_per_core = 4, 2
    known["vol-1"].volume.throughput = 125
    spec = translate.machine_spec(wanted, known, sources)
    assert (spec.id, spec.vcpus, spec.memory, spec.instance_type) == ("i-1", 4, make.GIB, "t3.micro")
    assert spec.threads_per_core == 2
    assert [disk.id for disk in spec.disks] == ["vol-1", "vol-2"]
    assert (spec.disks[0].iops, spec.disks[0].throughput) == (100, 125 << 20)
    assert spec.disks[0].base is not None
    assert spec.disks[1].source == BlockSource(Path("/v/2"))
    assert spec.nics[0].mac_address == "02:00:00:00:01:05"
    assert spec.nics[0].bridge.startswith("stb")


def test_nics_are_in_the_order_of_their_device_index() -> None:
    known = {name: make.interface(name, "i-1", number=at) for at, name in enumerate(("eni-1", "eni-2"))}
    wanted = make.machine("i-1", volumes=(), interfaces=("eni-1", "eni-2"))
    wanted.machine.interfaces[0].device_index, wanted.machine.interfaces[1].device_index = 1, 0
    assert [nic.interface_id for nic in translate.machine_spec(wanted, known, {}).nics] == ["eni-2", "eni-1"]


def test_a_machine_has_a_tpm_if_it_shall_with_a_secret_of_its_own() -> None:
    specs = []
    for name in ("i-1", "i-2"):
        wanted = make.machine(name, volumes=(), interfaces=())
        assert translate.machine_spec(wanted, {}, {}).tpm is None
        wanted.machine.tpm.encryption_key = b"key"
        specs.append(translate.machine_spec(wanted, {}, {}))
    first, second = (spec.tpm for spec in specs)
    assert first is not None
    assert second is not None
    assert first.key == b"key"
    assert first.secret != second.secret


def test_a_machine_begins_with_the_variables_of_its_image() -> None:
    wanted = make.machine("i-1", volumes=(), interfaces=())
    wanted.machine.uefi_variables = b"stream"
    assert translate.machine_spec(wanted, {}, {}).uefi_variables == b"stream"


def test_other_boot_modes_are_refused() -> None:
    wanted = make.machine("i-1", volumes=(), interfaces=())
    wanted.machine.boot_mode = "coreboot"
    with pytest.raises(translate.Untranslatable):
        translate.machine_spec(wanted, {}, {})


def test_a_guests_metadata_names_its_placement_group() -> None:
    wanted = make.machine("i-1", volumes=(), interfaces=())
    assert (translate.guest(wanted, {}).placement_group, translate.guest(wanted, {}).partition_number) == ("", None)
    wanted.machine.metadata.placement_group, wanted.machine.metadata.partition_number = "racks", 3
    assert (translate.guest(wanted, {}).placement_group, translate.guest(wanted, {}).partition_number) == ("racks", 3)
    assert translate.guest(wanted, {}).host_id == ""
    wanted.machine.metadata.dedicated_host_id = "h-0123"
    assert translate.guest(wanted, {}).host_id == "h-0123"
    assert (translate.guest(wanted, {}).spot, translate.guest(wanted, {}).interruption_time) == (False, None)
    wanted.machine.metadata.spot, wanted.machine.metadata.interruption_time = True, 7
    assert (translate.guest(wanted, {}).spot, translate.guest(wanted, {}).interruption_time) == (True, 7)
    wanted.machine.metadata.events.add(id="e", code="c", description="d", state="active", not_before=8)
    assert translate.guest(wanted, {}).events == (MaintenanceEvent("e", "c", "d", "active", 8),)


def test_a_guests_metadata() -> None:
    wanted = make.machine("i-1", volumes=("vol-1", "vol-2"), interfaces=("eni-1",))
    words = wanted.machine.metadata
    words.public_hostname = "ec2-198-18-0-7.compute.internal"
    words.options.tokens_required = True
    words.options.enabled = True
    words.options.hop_limit = 3
    wanted.machine.interfaces[0].security_groups.append("web")
    known = {"eni-1": make.interface("eni-1", "i-1"), "subnet-1": make.subnet(), "vpc-1": make.vpc()}
    known["eni-1"].interface.public_dns_name = words.public_hostname
    guest = translate.guest(wanted, known)
    assert guest.user_data is None
    assert guest.identity is None
    assert guest.interfaces[0].security_groups == ("web",)
    assert (guest.root_device_name, guest.ebs_device_names) == ("/dev/sda", ("/dev/sdb",))
    assert guest.volumes == {"vol-1": "/dev/sda", "vol-2": "/dev/sdb"}
    words.ebs_at_start.names.extend(["/dev/sdg", "/dev/sdh"])
    assert translate.guest(wanted, known).ebs_device_names == ("/dev/sdg", "/dev/sdh")
    words.ebs_at_start.Clear()
    words.ebs_at_start.SetInParent()
    assert translate.guest(wanted, known).ebs_device_names == ()
    assert guest.interfaces[0].subnet_cidr_block == "10.1.0.0/20"
    assert guest.interfaces[0].vpc_cidr_blocks == ("10.1.0.0/16",)
    assert guest.interfaces[0].public_dns_name == words.public_hostname
    assert guest.options.http_tokens_required
    assert guest.options.http_put_response_hop_limit == 3
    words.has_user_data = True
    assert translate.guest(wanted, known).user_data == b""


def test_an_identity_document_is_given_as_text() -> None:
    wanted = make.machine("i-1", volumes=(), interfaces=())
    identity = desired_pb2.IdentityDocument(document=b"{}", signature=bytes(60), pkcs7=b"message")
    wanted.machine.metadata.identity.CopyFrom(identity)
    reported = translate.guest(wanted, {}).identity
    assert reported is not None
    assert reported.document == "{}"
    assert reported.signature == "A" * 64 + "\n" + "A" * 16
    assert b64decode(reported.pkcs7) == b"message"


@pytest.mark.parametrize("reason", OffReason)
@pytest.mark.parametrize("power", Power)
def test_every_power_has_a_word(power: Power, reason: OffReason) -> None:
    reported = translate.machine_status(MachineStatus("i-1", power, 4, 2, reason))
    if power is Power.UNKNOWN:
        assert reported is None
        return
    assert reported is not None
    assert (reported.start_count, reported.reboot_count) == (4, 2)
    assert reported.power != host_pb2.MACHINE_POWER_UNSPECIFIED
    if power is not Power.OFF:
        assert reported.off_reason == host_pb2.OFF_REASON_UNSPECIFIED


def test_a_guest_with_ipv6_may_ask_from_its_link_local_address() -> None:
    wanted, interface = make.machine("i-1", volumes=(), interfaces=("eni-1",)), make.interface("eni-1", "i-1")
    (without,) = translate.guest(wanted, {"eni-1": interface}).interfaces
    assert (without.private_addresses, without.link_local_address) == (("10.1.0.5",), "")
    interface.interface.private_address = ""
    interface.interface.ipv6_addresses.append("fd00:5:0:1::5")
    (only,) = translate.guest(wanted, {"eni-1": interface}).interfaces
    assert (only.private_addresses, only.link_local_address) == ((), "fe80::ff:fe00:105")
