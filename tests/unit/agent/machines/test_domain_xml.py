"""Domain XML: what a spec says is read back field by field, and nothing else gets in."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.disks.disk_sources import BlockSource, FileSource, Layer, NbdSource, RbdSource
from stead_agent.disks.disk_users import uid_of
from stead_agent.machines import firmware
from stead_agent.machines.domain_xml import (
    HostSide,
    is_machine_id,
    render_disk,
    render_domain,
    render_nic,
    serial_of,
    target_names,
)
from stead_agent.machines.interface import Disk, MachineError, MachineSpec, Nic, Pinning, Tpm, instance_store_id
from stead_agent.machines.life import NAMESPACE, Record, parse_record, uuid_of

HOST = HostSide(
    "qemu",
    64055,
    Path("/var/lib/stead/consoles/i-0/1.log"),
    Path("/var/lib/stead/screens/i-0/vnc"),
    Path("/var/lib/stead/firmware/i-0/vars.fd"),
    Path("/usr/bin/qemu-system-x86_64"),
)
HEX = "0123456789abcdef"
HOSTILE = st.one_of(
    st.text(),
    st.sampled_from(
        [
            "-x", "a b", "a\nb", "'", '"', "<x/>", "&amp;", "]]>", "<!--", "%s", "..", "/../etc/shadow", "\0", "a,b=c",
            "vda'/><disk/>", "i-0123456789abcdef0\n", "ü", "i-0123456789abcdef0'", "json:{}", "nbd://x/y",
        ]
    ),
)  # fmt: skip


def ids(prefix):
    return st.text(HEX, min_size=17, max_size=17).map(lambda digits: f"{prefix}-{digits}")


PATHS = (
    st.lists(st.text(HEX + "._-", min_size=1, max_size=9), min_size=1, max_size=4)
    .map(lambda names: Path("/" + "/".join(names)))
    .filter(lambda path: ".." not in path.parts and path != Path("/"))
)
SOURCES = st.one_of(
    st.builds(FileSource, PATHS),
    st.builds(BlockSource, PATHS),
    st.builds(NbdSource, PATHS, st.sampled_from(["", "vol-0123456789abcdef0"])),
    st.builds(RbdSource, st.sampled_from(["stead", "a.b"]), ids("vol"), PATHS, st.just("stead"), st.just("c2VjcmV0")),
)
FORMATS = st.sampled_from(["qcow2", "raw"])
DISKS = st.builds(
    Disk,
    id=st.one_of(ids("vol"), ids("i").map(lambda machine: instance_store_id(machine, 3))),
    source=SOURCES,
    format=FORMATS,
    base=st.one_of(st.none(), st.builds(Layer, source=SOURCES, format=FORMATS)),
    secret=st.one_of(st.just(""), st.uuids().map(str)),
    iops=st.integers(0, 1 << 20),
    throughput=st.integers(0, 1 << 40),
)
MACS = st.text(HEX, min_size=10, max_size=10).map(lambda x: "0a:" + ":".join(x[i : i + 2] for i in range(0, 10, 2)))
LINKS = st.text(HEX, min_size=1, max_size=13).map(lambda name: f"b{name}")
NICS = st.builds(
    Nic, interface_id=ids("eni"), mac_address=MACS, bridge=LINKS, tap=LINKS, mtu=st.sampled_from([0, 1450, 9001])
)
SPECS = st.builds(
    MachineSpec,
    id=ids("i"),
    vcpus=st.integers(1, 255),
    memory=st.integers(16 << 20, 1 << 44),
    disks=st.lists(DISKS, min_size=1, max_size=4).map(tuple),
    nics=st.lists(NICS, max_size=3).map(tuple),
    boot_mode=st.sampled_from(["legacy-bios", "uefi"]),
    instance_type=st.sampled_from(["", "t3.micro", "u-24tb1.112xlarge"]),
)


def spec(**changes):
    plain = {
        "id": "i-0123456789abcdef0",
        "vcpus": 1,
        "memory": 96 << 20,
        "disks": (Disk("vol-0123456789abcdef0", FileSource(Path("/v/d.qcow2")), "qcow2"),),
        "nics": (),
    }
    return MachineSpec(**plain | changes)


def parsed(machine, host=HOST, record=None):
    return ET.fromstring(render_domain(machine, record or Record("us"), host))


def assert_source(element, source):
    found = element.find("source")
    match source:
        case FileSource(path):
            assert (element.get("type"), found.attrib) == ("file", {"file": str(path)})
        case BlockSource(path):
            assert (element.get("type"), found.attrib) == ("block", {"dev": str(path)})
        case NbdSource(socket, export):
            assert (element.get("type"), found.attrib) == ("network", {"protocol": "nbd", "name": export})
            assert found.find("host").attrib == {"transport": "unix", "socket": str(socket)}
        case RbdSource(pool, image, conf, user):
            assert (element.get("type"), found.attrib) == ("network", {"protocol": "rbd", "name": f"{pool}/{image}"})
            assert found.find("config").attrib == {"file": str(conf)}
            assert found.find("auth").attrib == {"username": user}
            assert found.find("auth/secret").attrib == {"type": "ceph", "uuid": source.secret}
            assert source.key not in ET.tostring(element, encoding="unicode")


@given(SPECS)
def test_what_was_said_is_what_is_there(machine):
    domain = parsed(machine)
    assert domain.findtext("name") == machine.id
    assert domain.findtext("uuid") == str(uuid_of(machine.id))
    assert int(domain.findtext("memory")) == machine.memory
    assert int(domain.findtext("vcpu")) == machine.vcpus
    assert domain.find("cpu/topology").get("cores") == str(machine.vcpus)
    disks = domain.findall("devices/disk")
    assert len(disks) == len(machine.disks)
    assert len({disk.find("target").get("dev") for disk in disks}) == len(disks)
    for element, disk in zip(disks, machine.disks, strict=True):
        assert_source(element, disk.source)
        secret = element.find("source/encryption/secret")
        assert (secret.get("uuid") if secret is not None else "") == disk.secret
        assert element.find("driver").get("type") == disk.format
        assert element.findtext("serial") == serial_of(disk.id)
        assert len(serial_of(disk.id)) <= 20
        assert int(element.findtext("iotune/total_bytes_sec", "0")) == disk.throughput
        assert int(element.findtext("iotune/total_iops_sec", "0")) == disk.iops
        below = element.find("backingStore")
        if disk.base:
            assert_source(below, disk.base.source)
            assert below.find("format").get("type") == disk.base.format
            assert below.find("backingStore").attrib == {}
        else:
            assert (below.attrib, len(below)) == ({}, 0)
    assert [disk.find("boot") is not None for disk in disks] == [True] + [False] * (len(disks) - 1)
    nics = domain.findall("devices/interface")
    assert len(nics) == len(machine.nics)
    for element, nic in zip(nics, machine.nics, strict=True):
        assert element.get("type") == "bridge"
        assert element.find("mac").get("address") == nic.mac_address
        assert element.find("source").attrib == {"bridge": nic.bridge}
        assert element.find("target").attrib == {"dev": nic.tap}
        assert element.find("port").attrib == {"isolated": "yes"}
        assert (element.find("mtu") is None) if nic.mtu == 0 else (element.find("mtu").get("size") == str(nic.mtu))


@given(SPECS)
def test_there_is_nothing_but_what_was_meant(machine):
    devices = parsed(machine).find("devices")
    kinds = [device.tag for device in devices if device.tag not in {"disk", "interface"}]
    ports = [device for device in devices.findall("controller") if device.get("model") == "pcie-root-port"]
    assert devices.find("tpm") is None
    roots = [device for device in devices.findall("controller") if device.get("model") == "pcie-root"]
    assert sorted(kinds) == sorted(
        ["emulator", "controller", "controller", "serial", "channel", "graphics", "video", "rng", "memballoon"]
        + ["controller"] * len(ports + roots)
    )
    assert bool(ports) is bool(roots) is (machine.boot_mode == "uefi")
    if roots:  # the others are numbered after it
        assert [root.get("index") for root in roots] == ["0"]


FIELDS = (
    "id",
    "instance_type",
    "architecture",
    "boot_mode",
    "volume",
    "format",
    "path",
    "base",
    "export",
    "image",
    "secret",
    "mac",
    "bridge",
    "tap",
)


@given(HOSTILE, st.sampled_from(FIELDS))
def test_a_hostile_value_is_refused_or_stands_for_itself(value, field):
    disk, nic = spec().disks[0], Nic("eni-0", "0a:00:00:00:00:01", "br", "tap", 0)
    changes = {
        "volume": lambda: {"disks": (Disk(value, disk.source, "qcow2"),)},
        "format": lambda: {"disks": (Disk(disk.id, disk.source, value),)},
        "path": lambda: {"disks": (Disk(disk.id, FileSource(Path("/v/" + value)), "qcow2"),)},
        "base": lambda: {"disks": (replace(disk, base=Layer(FileSource(Path("/v/" + value)), "qcow2")),)},
        "export": lambda: {"disks": (replace(disk, source=NbdSource(Path("/s"), value)),)},
        "image": lambda: {"disks": (replace(disk, source=RbdSource("p", value, Path("/c"), "u")),)},
        "secret": lambda: {"disks": (replace(disk, secret=value),)},
        "mac": lambda: {"nics": (Nic("eni-0", value, "br", "tap"),)},
        "bridge": lambda: {"nics": (Nic("eni-0", nic.mac_address, value, "tap"),)},
        "tap": lambda: {"nics": (Nic("eni-0", nic.mac_address, "br", value),)},
    }.get(field, lambda: {field: value})()
    try:
        domain = parsed(spec(**changes))
    except MachineError:
        return
    found = {
        "id": lambda: domain.findtext("name"),
        "instance_type": lambda: next(
            e.text for e in domain.iterfind("sysinfo/system/entry") if e.get("name") == "product"
        ).replace("Stead", value),
        "architecture": lambda: domain.find("os/type").get("arch"),
        "boot_mode": lambda: value if value in {"uefi", "legacy-bios"} else None,
        "volume": lambda: value,
        "format": lambda: domain.find("devices/disk/driver").get("type"),
        "path": lambda: domain.find("devices/disk/source").get("file").removeprefix("/v/"),
        "base": lambda: domain.find("devices/disk/backingStore/source").get("file").removeprefix("/v/"),
        "export": lambda: domain.find("devices/disk/source").get("name"),
        "image": lambda: domain.find("devices/disk/source").get("name").removeprefix("p/"),
        "secret": lambda: value if value == "" else domain.find("devices/disk/source/encryption/secret").get("uuid"),
        "mac": lambda: domain.find("devices/interface/mac").get("address"),
        "bridge": lambda: domain.find("devices/interface/source").get("bridge"),
        "tap": lambda: domain.find("devices/interface/target").get("dev"),
    }[field]()
    assert found == value or field in {"path", "base"}
    if field in {"path", "base"}:
        assert ".." not in Path(found).parts
    assert len(domain.findall("devices/disk")) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "i-0123456789abcdef0\n"},
        {"id": "../x"},
        {"vcpus": 0},
        {"vcpus": 256},
        {"threads_per_core": 0},
        {"vcpus": 3, "threads_per_core": 2},
        {"memory": 0},
        {"disks": ()},
        {"architecture": "arm64"},  # it has no BIOS
        {"architecture": "aarch64", "boot_mode": "uefi"},
        {"boot_mode": "tpm"},
        {"tpm": Tpm("5ead0000-6d69-4372-8f00-000000000001")},
        {"boot_mode": "uefi", "tpm": Tpm("no uuid")},
        {"disks": (Disk("vol-0123456789abcdef0", FileSource(Path("relative")), "qcow2"),)},
        {"disks": (Disk("vol-0123456789abcdef0", FileSource(Path("/v/../etc/shadow")), "raw"),)},
        {"disks": (Disk("vol-0123456789abcdef0", FileSource(Path("/v/d")), "vmdk"),)},
        {"disks": (Disk("vol-0123456789abcdef0", FileSource(Path("/v/d")), "raw", iops=-1),)},
        {"nics": (Nic("eni-0", "01:00:00:00:00:01", "br", "tap"),)},
        {"nics": (Nic("eni-0", "0a:00:00:00:00:01", "br", "a" * 16),)},
        {"nics": (Nic("eni-0", "0a:00:00:00:00:01", "br", "tap", 70000),)},
    ],
)
def test_what_cannot_be_meant_is_refused(changes):
    with pytest.raises(MachineError):
        parsed(spec(**changes))


def test_a_guest_knows_that_it_is_on_ec2():
    machine = spec(instance_type="t3.micro")
    domain = parsed(machine)
    entries = {(table.tag, entry.get("name")): entry.text for table in domain.find("sysinfo") for entry in table}
    assert domain.find("os/smbios").get("mode") == "sysinfo"
    assert entries["system", "manufacturer"] == "Amazon EC2"
    assert entries["system", "product"] == "t3.micro"
    assert entries["system", "uuid"] == domain.findtext("uuid")
    assert domain.findtext("uuid").startswith("ec2")
    assert entries["baseBoard", "asset"] == machine.id


def test_kvm_and_emulation_differ_in_processor_only():
    emulated = parsed(spec())
    assert emulated.get("type") == "qemu"
    assert emulated.find("cpu").get("mode") == "maximum"
    assert emulated.findtext("features/tcg/tb-cache") == "32"
    kvm = parsed(spec(), replace(HOST, virtualization="kvm"))
    assert kvm.get("type") == "kvm"
    assert kvm.find("cpu").get("mode") == "host-passthrough"
    assert kvm.find("features/tcg") is None


@pytest.mark.parametrize(
    ("keeps", "changes", "mib"),
    [
        (True, {"memory": 1 << 30}, 32 + 53),
        (True, {"memory": 1 << 30, "vcpus": 4}, 32 + 213),
        (True, {"memory": 1 << 30, "vcpus": 8}, 32 + 305),  # of a third of 1024 and 76
        (True, {}, 32 + 47),  # of a third of 96 and 76
        (True, {"memory": 1 << 30, "pinning": Pinning((3,), 0, huge_pages=False)}, 32),
        (False, {"memory": 1 << 30}, 32),
    ],
    ids=str,
)
def test_translated_code_has_as_much_as_is_kept_for_it(keeps, changes, mib):
    """A host with KVM keeps nothing for guests of another architecture, and none keeps something for whole cores."""
    domain = parsed(spec(**changes), replace(HOST, keeps_for_emulation=keeps))
    assert domain.findtext("features/tcg/tb-cache") == str(mib)


def test_vcpus_are_the_threads_of_cores():
    def processor(virtualization, *, threads, topoext=False):
        side = replace(HOST, virtualization=virtualization, topoext=topoext)
        domain = parsed(spec(vcpus=8, threads_per_core=threads), side)
        topology = domain.find("cpu/topology")
        features = [(each.get("name"), each.get("policy")) for each in domain.findall("cpu/feature")]
        return topology.get("cores"), topology.get("threads"), features

    amd = [("topoext", "require")]
    assert processor("kvm", threads=1, topoext=True) == ("8", "1", [])
    assert processor("kvm", threads=2) == ("4", "2", [])
    assert processor("kvm", threads=2, topoext=True) == ("4", "2", amd)
    assert processor("qemu", threads=1) == ("8", "1", [])
    assert processor("qemu", threads=2) == ("4", "2", [])


def test_the_guest_is_a_user_of_its_own_and_nothing_is_relabelled():
    label = parsed(spec()).find("seclabel")
    assert label.get("relabel") == "no"
    assert label.findtext("label") == f"+{uid_of('i-0123456789abcdef0')}:+64055"


def test_the_record_is_stored_with_it():
    record = Record("us", "boot", 3, 2, 1, 3, 4, 5, 6, 2, "guest")
    element = parsed(spec(), record=record).find(f"metadata/{{{NAMESPACE}}}machine")
    assert parse_record(ET.tostring(element, encoding="unicode")) == record


def test_devices_to_plug_in_are_checked_too():
    with pytest.raises(MachineError):
        render_disk(spec(), Disk("../x", FileSource(Path("/v/d")), "raw"), "vdb")
    with pytest.raises(MachineError):
        render_nic(Nic("eni-0", "", "br", "tap"))
    assert ET.fromstring(render_disk(spec(), spec().disks[0], "vdc")).find("target").get("dev") == "vdc"


def test_names():
    assert serial_of("vol-0123456789abcdef0") == "vol0123456789abcdef0"
    assert len(serial_of("vol-0123456789abcdef0")) == 20
    names = list(target_names())
    assert names[:2] + names[25:28] == ["vda", "vdb", "vdz", "vdaa", "vdab"]
    assert len(set(names)) == len(names)
    assert is_machine_id("i-0123456789abcdef0")
    assert not is_machine_id("i-0123456789abcdef0\n")


def test_by_uefi_a_guest_has_its_own_variables_which_only_firmware_may_write():
    domain = parsed(spec(boot_mode="uefi"))
    assert (domain.find("os/type").get("machine"), domain.find("features/smm").get("state")) == ("q35", "on")
    loader = domain.find("os/loader")
    assert loader.text == str(firmware.OVMF.code)
    assert (loader.get("secure"), loader.get("readonly"), loader.get("type")) == ("yes", "yes", "pflash")
    assert domain.findtext("os/nvram") == str(HOST.variables)


def test_an_arm64_guest_has_a_machine_with_nothing_of_a_pc():
    arm = spec(architecture="arm64", boot_mode="uefi", tpm=Tpm("5ead0000-6d69-4372-8f00-000000000001"))
    domain = parsed(arm, replace(HOST, emulator=Path("/usr/bin/qemu-system-aarch64")))
    kind = domain.find("os/type")
    assert (kind.get("arch"), kind.get("machine")) == ("aarch64", "virt")
    loader = domain.find("os/loader")
    assert (loader.text, loader.get("secure"), loader.get("type")) == (str(firmware.AAVMF.code), None, "pflash")
    assert domain.findtext("os/nvram") == str(HOST.variables)
    assert domain.findtext("devices/emulator") == "/usr/bin/qemu-system-aarch64"
    assert {feature.tag for feature in domain.find("features")} == {"acpi", "gic", "tcg"}
    assert domain.find("features/gic").get("version") == "3"
    assert domain.find("devices/tpm").get("model") == "tpm-tis"
    assert domain.find("devices/video/model").get("type") == "none"
    for absent in ("pm", "devices/graphics", "clock/timer"):
        assert domain.find(absent) is None, absent
        assert parsed(spec()).find(absent) is not None, absent
    assert domain.find("sysinfo").get("type") == "smbios"
    kvm = parsed(arm, replace(HOST, virtualization="kvm"))
    assert (kvm.find("features/gic").get("version"), kvm.find("cpu").get("mode")) == ("host", "host-passthrough")


def test_a_guest_with_a_tpm_gets_its_socket_and_no_disk_is_given_away():
    chip = Tpm("5ead0000-6d69-4372-8f00-000000000001", b"k")
    files = (FileSource(Path("/v/d.qcow2")), BlockSource(Path("/dev/v/d")), NbdSource(Path("/s"), "e"))
    disks = tuple(Disk(f"vol-{number:017x}", source, "raw") for number, source in enumerate(files))
    machine = spec(boot_mode="uefi", tpm=chip, disks=disks)
    domain = parsed(machine)
    device = domain.find("devices/tpm")
    assert (device.get("model"), device.find("backend").attrib) == ("tpm-crb", {"type": "emulator", "version": "2.0"})
    assert device.find("backend/encryption").get("secret") == chip.secret
    assert domain.find("seclabel").get("relabel") == "yes"
    plugged = ET.fromstring(render_disk(machine, disks[0], "vdd"))
    labels = [disk.find("source/seclabel") for disk in (*domain.iterfind("devices/disk"), plugged)]
    assert [label is not None and label.attrib for label in labels] == [
        {"model": "dac", "relabel": "no"},
        {"model": "dac", "relabel": "no"},
        False,  # a socket, which is no file that would be given away
        {"model": "dac", "relabel": "no"},
    ]


def test_without_a_tpm_libvirt_gives_no_file_to_a_guest():
    domain = parsed(spec(boot_mode="uefi"))
    assert domain.find("seclabel").get("relabel") == "no"
    assert domain.find("devices/disk/source/seclabel") is None  # it would be refused where nothing is relabelled


def test_by_bios_a_guest_has_neither():
    domain = parsed(spec(boot_mode="legacy-bios"))
    assert domain.find("os/type").get("machine") == "pc"
    assert [domain.find(path) for path in ("os/loader", "os/nvram", "features/smm")] == [None] * 3


@pytest.mark.parametrize("boot_mode", ["legacy-bios", "uefi"])
def test_devices_of_the_host_are_given_by_vfio_and_bound_by_us(boot_mode):
    found = parsed(spec(boot_mode=boot_mode, devices=("0000:01:00.0", "10000:0a:1f.7"))).findall("devices/hostdev")
    assert [dict(each.attrib) for each in found] == [{"mode": "subsystem", "type": "pci", "managed": "no"}] * 2
    assert [each.find("driver").get("name") for each in found] == ["vfio", "vfio"]
    assert [each.find("source/address").attrib for each in found] == [
        {"domain": "0x0000", "bus": "0x01", "slot": "0x00", "function": "0x0"},
        {"domain": "0x10000", "bus": "0x0a", "slot": "0x1f", "function": "0x7"},
    ]


def test_each_device_of_the_host_has_a_port_of_its_own():
    def ports(**changes):
        domain = parsed(spec(boot_mode="uefi", **changes))
        return len(domain.findall("devices/controller[@model='pcie-root-port']"))

    assert ports(devices=("0000:01:00.0",)) == ports() + 1


@pytest.mark.parametrize("address", ["", "01:00.0", "0000:01:00.8", "0000:01:00.0'/>", "0000:01:00.0\n"])
def test_what_is_no_address_of_a_device_is_refused(address):
    with pytest.raises(MachineError, match="not a PCI address"):
        parsed(spec(devices=(address,)))


APART = replace(HOST, shared_threads="0,4")


def test_guests_use_the_shared_threads_where_others_are_set_apart():
    assert parsed(spec()).find("vcpu").get("cpuset") is None
    domain = parsed(spec(), APART)
    assert domain.find("vcpu").get("cpuset") == "0,4"
    assert [domain.find(tag) for tag in ("cputune", "numatune", "memoryBacking")] == [None] * 3


def test_a_guest_has_threads_of_its_own_and_prefers_the_memory_beside_them():
    domain = parsed(spec(vcpus=2, pinning=Pinning((5, 1), 3)), APART)
    assert [dict(pin.attrib) for pin in domain.findall("cputune/vcpupin")] == [
        {"vcpu": "0", "cpuset": "5"},
        {"vcpu": "1", "cpuset": "1"},
    ]
    assert domain.find("cputune/emulatorpin").get("cpuset") == "0,4"
    assert dict(domain.find("numatune/memory").attrib) == {"mode": "preferred", "nodeset": "3"}
    assert domain.find("memoryBacking") is None


def test_huge_pages_are_of_the_guests_node_alone():
    domain = parsed(spec(vcpus=1, pinning=Pinning((5,), 3, huge_pages=True)), APART)
    assert dict(domain.find("numatune/memory").attrib) == {"mode": "strict", "nodeset": "3"}
    assert dict(domain.find("memoryBacking/hugepages/page").attrib) == {"size": str(2 << 20), "unit": "b"}
    assert domain.find("memoryBacking/source").get("type") == "memfd"


@pytest.mark.parametrize(
    "changes",
    [
        {"vcpus": 2, "pinning": Pinning((5,), 0)},
        {"vcpus": 2, "pinning": Pinning((5, 5), 0)},
        {"vcpus": 1, "pinning": Pinning((5, 6), 0)},
        {"vcpus": 1, "memory": 97 << 20, "pinning": Pinning((5,), 0, huge_pages=True)},
    ],
    ids=str,
)
def test_threads_that_are_not_one_for_each_vcpu_are_refused(changes):
    with pytest.raises(MachineError, match=r"hardware threads|huge pages"):
        parsed(spec(**changes), APART)
