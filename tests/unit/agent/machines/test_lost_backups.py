"""Which of QEMU's block nodes belong to no disk of a domain."""

from stead_agent.machines.lost_backups import numbers, unknown_nodes

DOMAIN = """
<domain><devices>
  <disk><source file='/a.qcow2' index='3'/><backingStore type='file'><source file='/base.raw'/></backingStore></disk>
  <disk><source protocol='nbd' index='12'/><backingStore type='file' index='5'/></disk>
  <disk device='cdrom'><target dev='sda'/></disk>
  <interface><target dev='stt1'/><alias index='7'/></interface>
</devices></domain>
"""


def test_all_nodes_of_disks_are_known_those_below_them_as_well() -> None:
    assert numbers(DOMAIN) == {"3", "5", "12"}


def test_only_numbered_nodes_of_libvirt_can_be_unknown() -> None:
    names = ["libvirt-3-format", "libvirt-3-storage", "libvirt-4-storage", "libvirt-4-format", "#block006"]
    names += ["libvirt-pflash0-storage", "direct-0123456789abcdef0-4b2277", "libvirt-123-format", "libvirt-5-slice"]
    assert unknown_nodes([{"node-name": name} for name in names], numbers(DOMAIN)) == [
        "libvirt-123-format",
        "libvirt-4-format",
        "libvirt-4-storage",
    ]
