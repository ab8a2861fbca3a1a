"""What a QEMU says of its nodes is read, and the commands for it fit."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.machines import direct_nodes
from stead_agent.machines.direct_nodes import DirectNode, PluggedDisk, Seen
from stead_agent.machines.interface import DiskHome

VOLUME, OTHER = "vol-0123456789abcdef0", "vol-0123456789abcdef1"
HOME = DiskHome(VOLUME, 7, "host-00000000000000001", "192.0.2.1", 61000)
AUTHORITIES = bytes(range(32))
IDS = st.from_regex(r"vol-[0-9a-f]{17}", fullmatch=True)


@given(IDS, st.integers(0, 2**63 - 1))
def test_names_fit_and_lead_back_to_the_volume(volume_id: str, generation: int) -> None:
    name = direct_nodes.node_name(volume_id, generation)
    assert len(name) <= 31
    assert len(direct_nodes.source_of(name)) <= 31
    assert direct_nodes.node_of_credentials(direct_nodes.credentials_id(name, 1800000000, AUTHORITIES)) == name
    seen = Seen(nodes={name: DirectNode(name, 1, "192.0.2.1", 61000)})
    assert seen.nodes_of(volume_id) == {name}
    assert seen.nodes_of("vol-" + "f" * 17 if volume_id != "vol-" + "f" * 17 else VOLUME) == frozenset()


def test_generations_have_nodes_of_their_own() -> None:
    names = {direct_nodes.node_name(VOLUME, generation) for generation in range(1000)}
    assert len(names) == 1000


@pytest.mark.parametrize(
    ("filename", "server"),
    [
        ("nbd://192.0.2.1:61000/vol-0123456789abcdef0", ("192.0.2.1", 61000)),
        ("nbd://2001:db8::1:61000/vol-0123456789abcdef0", ("2001:db8::1", 61000)),
        (
            'json:{"server.port": "61000", "tls-hostname": "x", "driver": "nbd", "server.host": "192.0.2.1"}',
            ("192.0.2.1", 61000),
        ),
        (
            'json:{"driver": "nbd", "server": {"host": "2001:db8::1", "type": "inet", "port": "61001"}}',
            ("2001:db8::1", 61001),
        ),
    ],
)
def test_where_a_node_leads_is_read_in_each_way_that_qemu_writes_it(filename: str, server: tuple[str, int]) -> None:
    name = direct_nodes.node_name(VOLUME, 7)
    reported = [
        {"node-name": name, "image": {"virtual-size": 5, "filename": filename}},
        {"node-name": "libvirt-3-storage", "image": {"virtual-size": 5, "filename": "nbd+unix:///x?socket=/y"}},
    ]
    assert direct_nodes.direct_nodes(reported) == {name: DirectNode(name, 5, *server)}


def test_unused_nodes_are_known() -> None:
    """Nodes of disks that have gone, jobs whose nodes have, and credentials whose nodes have."""
    used, gone = direct_nodes.node_name(VOLUME, 1), direct_nodes.node_name(OTHER, 1)
    late = direct_nodes.node_name(OTHER, 2)
    nodes = {name: DirectNode(name, 1, "192.0.2.1", 61000) for name in (used, gone)}
    disks = {VOLUME: PluggedDisk("/machine/x", used, "libvirt-3-storage", 1, is_shareable=True)}
    objects = frozenset(
        direct_nodes.credentials_id(name, 5 + at, AUTHORITIES) for at, name in enumerate((used, used, late))
    )
    sources = frozenset(direct_nodes.source_of(name) for name in (used, late))
    seen = Seen(disks, nodes, objects, sources)
    assert seen.unused == {gone, late}
    assert seen.needless == {direct_nodes.credentials_id(late, 7, AUTHORITIES)}
    assert (seen.credentials_end(used), seen.credentials_end(gone)) == (6, 0)
    assert (seen.are_of(used, AUTHORITIES), seen.are_of(used, bytes(32))) == (True, False)


def test_credentials_of_earlier_agents_end_in_time_and_are_of_no_known_authorities() -> None:
    name = direct_nodes.node_name(VOLUME, 1)
    seen = Seen(objects=frozenset({f"{name}-1800000000"}))
    assert seen.credentials_end(name) == 1800000000
    assert not seen.are_of(name, AUTHORITIES)


def test_a_home_is_reached_with_tls_and_the_guest_waits_a_second_at_most() -> None:
    options = direct_nodes.node(HOME, "direct-creds")
    assert options["tls-hostname"] == "host-00000000000000001.host.stead.internal"
    assert (options["tls-creds"], options["open-timeout"], options["reconnect-delay"]) == ("direct-creds", 1, 600)
    assert options["server"] == {"type": "inet", "host": "192.0.2.1", "port": "61000"}
    assert direct_nodes.credentials("direct-creds", Path("/x"))["verify-peer"] is True


def test_disks_of_other_hosts_are_found_with_libvirts_nodes() -> None:
    xml = """<domain><devices>
      <disk type="file"><source file="/x" index="1"/><serial>vol0123456789abcdef1</serial><alias name="virtio-disk0"/></disk>
      <disk type="network"><source protocol="nbd" index="3"/><serial>vol0123456789abcdef0</serial>
        <alias name="virtio-disk1"/></disk>
    </devices></domain>"""
    assert direct_nodes.devices(xml) == {VOLUME: ("/machine/peripheral/virtio-disk1/virtio-backend", "3")}
    assert direct_nodes.proxy_node("3", ["libvirt-3-storage"]) == "libvirt-3-storage"
    assert direct_nodes.proxy_node("3", ["libvirt-3-storage", "libvirt-3-format"]) == "libvirt-3-format"
