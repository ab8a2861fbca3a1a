"""Whether this machine can be a host: a list of checks, with a remedy for each that fails. Nothing is changed.

Kernel features are really tried, in a network namespace that exists only for the check.
"""

import os
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import libvirt
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from stead_agent import facts, hardware, kvm_proof
from stead_agent.disks.volumes.interface import VolumeError
from stead_agent.disks.volumes.open_pools import open_pool
from stead_agent.firewall.interface import FirewallError
from stead_agent.firewall.nftables import Nft
from stead_agent.machines import architectures, firmware
from stead_agent.network import traffic_control
from stead_agent.network.kernel_objects import Shaper
from stead_agent.pci import grants, inventory
from stead_agent.settings import DEFAULT_LIBVIRT_URI, PoolSetting
from stead_agent.whole_cores import WholeCoresError, divide

_GIB: Final = 1 << 30
_LEAST_MEMORY: Final = 2 * _GIB
_LEAST_DISK: Final = 5 * _GIB
_LEAST_POOL: Final = 1 * _GIB
_ARM64_PACKAGES: Final = "apt-get install qemu-system-arm qemu-efi-aarch64"
_CPU_FLAGS: Final = {"vmx": "Intel VT-x", "svm": "AMD-V"}
_PROGRAMS: Final = {
    "qemu-system-x86_64": "apt-get install qemu-system-x86",
    "qemu-img": "apt-get install qemu-utils",
    "dnsmasq": "apt-get install dnsmasq-base",
    "nft": "apt-get install nftables",
    "ssh": "apt-get install openssh-client",
}
_LINKS: Final[dict[str, dict[str, Any]]] = {
    "bridges": {"kind": "bridge"},
    "veth pairs": {"kind": "veth", "peer": "stead-check-2"},
    "VXLAN": {"kind": "vxlan", "vxlan_id": 1, "vxlan_port": 4789},
    "taps": {"kind": "tuntap", "mode": "tap"},
}
_NFT_TRIAL: Final = """
add table inet stead_check
add set inet stead_check members { type ipv4_addr; flags interval; }
add map inet stead_check chains { type ipv4_addr : verdict; }
add chain inet stead_check forward { type filter hook forward priority 0; policy drop; }
add rule inet stead_check forward ct state established,related accept
add chain inet stead_check nat { type nat hook prerouting priority dstnat; }
add table bridge stead_check
add chain bridge stead_check ports { type filter hook prerouting priority 0; policy accept; }
"""

type Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was checked, its status, what was found, and the remedy if it is not ok."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


def checks(
    state_dir: Path,
    proof_image: Path | None = None,
    pools: Sequence[PoolSetting] = (),
    devices: Collection[str] = (),
    whole_cores: Collection[int] = (),
) -> list[Check]:
    """Check everything a host needs; needs root, and up to 15 s the first time after a boot (the proof of KVM)."""
    return [
        _kvm(state_dir, proof_image),
        _cpu(),
        _memory(),
        _disk(state_dir),
        _libvirt(),
        *_programs(),
        _uefi(),
        _tpm(),
        *_arm64(),
        *_kernel_network(),
        _bridge_netfilter(),
        _cgroups(),
        _lvm(),
        *(_pool(each) for each in pools),
        *device_checks(devices),
        *whole_core_checks(whole_cores),
    ]


def _kvm(state_dir: Path, proof_image: Path | None) -> Check:
    verdict = kvm_proof.prove(proof_image, state_dir)
    if verdict.virtualization == "kvm":
        return Check("KVM", "ok", "proven: a guest's kernel ran with it")
    remedy = "guests run by emulation, some ten times slower; on your own hardware enable VT-x or AMD-V in the firmware"
    return Check("KVM", "warning", verdict.reason, remedy)


def _cpu() -> Check:
    text = Path("/proc/cpuinfo").read_text()
    flags = next((set(line.split()) for line in text.splitlines() if line.startswith("flags")), set())
    found = [f"{name} ({flag})" for flag, name in _CPU_FLAGS.items() if flag in flags]
    detail = f"{len(os.sched_getaffinity(0))} CPUs, {', '.join(found) or 'no virtualisation extension is shown'}"
    return Check(
        "CPU", "ok" if found else "warning", detail, "" if found else "enable it in the firmware, if it has it"
    )


def _memory() -> Check:
    memory = facts.memory_bytes()
    detail = f"{memory / _GIB:.1f} GiB"
    if memory >= _LEAST_MEMORY:
        return Check("memory", "ok", detail)
    return Check("memory", "warning", detail, f"guests need room beside Stead: {_LEAST_MEMORY // _GIB} GiB or more")


def _disk(state_dir: Path) -> Check:
    folder = next(path for path in (state_dir, *state_dir.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    detail = f"{free / _GIB:.1f} GiB free at {folder}"
    if free >= _LEAST_DISK:
        return Check("disk", "ok", detail)
    return Check("disk", "failed", detail, f"free {_LEAST_DISK // _GIB} GiB, or set STEAD_STATE_DIR to a larger disk")


def _libvirt() -> Check:
    remedy = "./stead up starts it; its programs: apt-get install libvirt-daemon-system libvirt-daemon-driver-qemu"
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    try:
        connection = libvirt.openReadOnly(DEFAULT_LIBVIRT_URI)
    except libvirt.libvirtError as error:
        installed = shutil.which("libvirtd") or shutil.which("virtqemud")
        return Check("libvirt", "warning" if installed else "failed", str(error), remedy)
    try:
        number = connection.getLibVersion()
    finally:
        connection.close()
    return Check("libvirt", "ok", f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000} answers")


def _programs() -> Iterator[Check]:
    for name, remedy in _PROGRAMS.items():
        path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        yield Check(name, "ok", path) if path else Check(name, "failed", "not installed", remedy)


def _uefi() -> Check:
    if "uefi" in firmware.boot_modes():
        return Check("UEFI firmware", "ok", f"{firmware.OVMF.code}, with secure boot for guests that have keys")
    return Check("UEFI firmware", "warning", "not installed: guests boot by BIOS only", "apt-get install ovmf")


def _arm64() -> Iterator[Check]:
    """Say whether arm64 guests run here, once libvirt can be asked; optional, so nothing of it is a warning."""
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    try:
        connection = libvirt.open(DEFAULT_LIBVIRT_URI)
    except libvirt.libvirtError:  # the check of libvirt says so
        return
    try:
        found = architectures.emulated(connection)
    finally:
        connection.close()
    if found:
        yield Check("other architectures", "ok", f"{', '.join(found)} guests run by emulation")
    else:
        yield Check("other architectures", "ok", f"none; for arm64 guests: {_ARM64_PACKAGES}, then restart the agent")


def _tpm() -> Check:
    if firmware.has_tpm():
        return Check("TPM", "ok", "swtpm, for guests of images with TPM support")
    return Check("TPM", "warning", "not installed: no guest can have a TPM", "apt-get install swtpm swtpm-tools")


def _kernel_network() -> list[Check]:
    """Try links and rules in a network namespace of their own, which ends with its thread."""
    found: list[Check] = []

    def look() -> None:
        try:
            os.unshare(os.CLONE_NEWNET)
        except OSError as error:
            found.append(Check("network namespaces", "failed", str(error), "a kernel with CONFIG_NET_NS, and root"))
            return
        found.append(Check("network namespaces", "ok", "one was made"))
        with IPRoute() as netlink:
            found.extend(_try_link(netlink, name, what) for name, what in _LINKS.items())
        remedy = "a kernel with sch_htb, sch_ingress, cls_u32, act_mirred and ifb"
        found.append(_try("bandwidth limits", _try_shaper, remedy))
        found.append(_try("nftables", _try_nft, "a kernel with nf_tables for inet and bridge, and conntrack"))

    thread = threading.Thread(target=look, name="doctor")
    thread.start()
    thread.join()
    return found


def _try_link(netlink: IPRoute, name: str, what: dict[str, Any]) -> Check:
    def make() -> None:
        netlink.link("add", ifname="stead-check-1", **what)
        (index,) = netlink.link_lookup(ifname="stead-check-1")
        netlink.link("del", index=index)

    return _try(name, make, f"a kernel with {name}: modprobe {what['kind']}")


def _try_shaper() -> None:
    """Limit a link as a guest's tap is limited."""
    with IPRoute() as netlink:
        for name in ("stead-check-1", "stead-check-2"):
            netlink.link("add", ifname=name, kind="ifb")
        tap, shaper = (netlink.link_lookup(ifname=name)[0] for name in ("stead-check-1", "stead-check-2"))
        traffic_control.shape(shaper, Shaper("stead-check-2", "", 1_000_000, 1_000_000, traffic_control.LATE_MS))
        traffic_control.redirect(tap, shaper, shaper)


def _try_nft() -> None:
    nft = Nft()
    try:
        nft.run(_NFT_TRIAL)
    finally:
        nft.close()


def _try(name: str, work: Callable[[], None], remedy: str) -> Check:
    try:
        work()
    except (OSError, NetlinkError, FirewallError, ValueError) as error:
        return Check(name, "failed", str(error).splitlines()[0], remedy)
    return Check(name, "ok", "tried in a namespace")


def _bridge_netfilter() -> Check:
    folder = Path("/proc/sys/net/bridge")
    on = [path.name for path in sorted(folder.glob("bridge-nf-call-*tables")) if path.read_text().strip() != "0"]
    if not on:
        return Check("br_netfilter", "ok", "bridged frames do not pass the IP hooks")
    remedy = "the agent switches it off where its bridges are; other software on this host may need it on"
    return Check("br_netfilter", "warning", f"on here: {', '.join(on)}", remedy)


def _cgroups() -> Check:
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    if controllers.exists() and "cpu" in controllers.read_text().split():
        return Check("cgroups", "ok", "v2 with CPU control")
    if Path("/sys/fs/cgroup/cpu").exists() or Path("/sys/fs/cgroup/cpu,cpuacct").exists():
        return Check("cgroups", "ok", "v1 with CPU control")
    return Check(
        "cgroups", "warning", "no CPU control", "guests run without CPU limits; mount cgroup2 with cpu enabled"
    )


def device_checks(named: Collection[str], sysfs: Path = inventory.SYSFS) -> Iterator[Check]:
    """Check what guests need to have PCI devices, and each that the operator named; nothing where none is named."""
    if not named:
        return
    groups = sysfs / "kernel/iommu_groups"
    if groups.is_dir() and any(groups.iterdir()):
        yield Check("IOMMU", "ok", f"on, with {len(list(groups.iterdir()))} groups")
    else:
        remedy = "enable VT-d or AMD-Vi in the firmware, and boot with intel_iommu=on or amd_iommu=on"
        yield Check("IOMMU", "failed", "off: no guest can have a device", remedy)
    if (sysfs / "bus/pci/drivers/vfio-pci").is_dir():
        yield Check("vfio-pci", "ok", "loaded")
    else:
        yield Check("vfio-pci", "failed", "not loaded", "modprobe vfio-pci, and name it in /etc/modules-load.d")
    judged = grants.grants(inventory.read(sysfs), named)
    for one in judged:
        name = f"device {one.device.address}"
        if one.refusal:
            yield Check(name, "failed", one.refusal, "name all of its group with --device, or none of it")
        else:
            detail = f"{one.device.model}, in IOMMU group {one.device.iommu_group}, can be reset by {one.device.reset}"
            yield Check(name, "ok", detail)
    for text in named:
        if not any(text in (one.device.address, one.device.model) for one in judged):
            yield Check(f"device {text}", "failed", "this host has none", "lspci -Dnn lists what there is")


def whole_core_checks(named: Collection[int], root: Path = Path("/")) -> Iterator[Check]:
    """Check the cores that the operator set apart, and the huge pages beside them; nothing where none are."""
    if not named:
        return
    try:
        division = divide(named, root=root)
    except WholeCoresError as error:
        yield Check("whole cores", "failed", str(error), "STEAD_WHOLE_CORES names threads; lscpu -e lists the cores")
        return
    nodes = sorted({core.node for core in division.cores})
    yield Check("whole cores", "ok", f"{len(division.cores)} in memory nodes {', '.join(map(str, nodes))}")
    pages = {node.number: node.huge_pages for node in hardware.read([], root).nodes}
    found = ", ".join(f"{pages.get(node, 0)} in node {node}" for node in nodes)
    yield Check("huge pages", "ok", f"{found}, of 2 MiB")


def _lvm() -> Check:
    has_tools = shutil.which("lvs", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    has_mapper = Path("/dev/mapper/control").exists()
    if has_tools and has_mapper:
        return Check("LVM", "ok", "tools and device-mapper are there")
    missing = [what for what, there in (("lvm2", has_tools), ("device-mapper", has_mapper)) if not there]
    return Check("LVM", "ok", f"not usable ({', '.join(missing)} missing): volumes are qcow2 files, the default")


def _pool(setting: PoolSetting) -> Check:
    """Check whether a storage pool is there, and how much room it has."""
    name = f"pool {setting.name}"
    reserved = f", for {', '.join(setting.volume_types)}" if setting.volume_types else ""
    if setting.backend == "directory":
        if not Path(setting.place).is_dir():
            return Check(name, "failed", f"there is no directory {setting.place}", "mount or make it")
        room = shutil.disk_usage(setting.place)
        return _room(name, room.free, room.total, f"at {setting.place}{reserved}")
    try:
        capacity = open_pool(setting, "doctor").capacity()
    except VolumeError as error:
        return Check(name, "failed", str(error).splitlines()[0], _remedy(setting))
    kind = "thin pool" if setting.backend == "lvm" else "Ceph's pool"
    return _room(name, capacity.free, capacity.total, f"in {kind} {setting.place}{reserved}")


def _room(name: str, free: int, total: int, where: str) -> Check:
    """Check the room of a pool: guests that write to one that is full are paused."""
    detail = f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB free {where}"
    if free >= _LEAST_POOL:
        return Check(name, "ok", detail)
    return Check(
        name, "warning", detail, "make room in it or enlarge it: who writes to a full pool is paused until then"
    )


def _remedy(setting: PoolSetting) -> str:
    """Return how to create a pool that could not be reached."""
    if setting.backend == "lvm":
        group, _slash, thin_pool = setting.place.partition("/")
        return f"apt-get install lvm2 thin-provisioning-tools; lvcreate --type thin-pool -L SIZE -n {thin_pool} {group}"
    pool = setting.place.partition("@")[0]
    return (
        f"apt-get install qemu-block-extra; with Ceph: ceph osd pool create {pool}; rbd pool init {pool}; ceph auth "
        f"get-or-create client.stead mon 'profile rbd' osd 'profile rbd pool={pool}' -o "
        "/etc/ceph/ceph.client.stead.keyring"
    )
