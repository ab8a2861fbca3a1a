"""A guest's QEMU reaches a volume's home itself, and goes back to the proxy: no request fails, and no byte is lost."""

import json
import os
import secrets
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stead_agent.disks.attachment_credentials import CredentialsError, NoCredentialsError
from stead_agent.disks.disk_backups import BackupError, DiskToFreeze
from stead_agent.disks.disk_users import uid_of
from stead_agent.disks.exports import graph
from stead_agent.disks.exports.daemon import find
from stead_agent.machines import direct_disks, direct_nodes, life
from stead_agent.machines.backups import LibvirtBackups
from stead_agent.machines.interface import DiskHome
from stead_agent.machines.monitor import execute
from stead_proto.certificates import Authority
from stead_proto.nbd.client import NbdClient
from tests.host.exports.conftest import CLIENT, HOME, MIB, PORT, SIZE, STRANGER, VOLUME, new_world
from tests.host.machines.conftest import wait_for
from tests.host.machines.direct_guest import DEVICE, DirectGuest


@pytest.fixture
def hosts():
    """A home with a disk, and the host of the guest, on this machine."""
    with new_world() as made:
        yield made


@pytest.fixture
def guest(hosts, world):
    """A guest that has the volume by its host's proxy; it ends before what serves it."""
    made = DirectGuest(world, hosts)
    yield made
    world.machines.remove(made.id)


def test_the_qemu_of_a_guest_that_has_shut_down_is_asked_nothing(guest, monkeypatch):
    """It is about to end, and may not answer who holds the machine's lock."""
    domains = guest.world.machines._domains
    find = domains.find

    def find_shut_down(machine_id):
        found = find(machine_id)
        return replace(found, view=replace(found.view, state=life.State.SHUTDOWN))

    with monkeypatch.context() as patched:
        patched.setattr(domains, "find", find_shut_down)
        guest.want()
        wait_for(guest.settled, "the agent has done what it was about to")
    assert not guest.is_direct()
    guest.go_direct()


def in_flight(guest, pattern):
    """Have 16 requests wait, as the disk's limit lets one after the other pass."""
    for at in range(16):
        guest.io(f"aio_write -P {pattern} {at * MIB} 64k")


def test_requests_under_way_are_done_when_a_guest_is_moved_to_the_home_and_back(guest):
    guest.write(1, 0, 16 * MIB)
    guest.limit(20)
    for pattern in range(2, 8):
        in_flight(guest, pattern)
        guest.go_direct()
        guest.io("aio_flush")
        assert guest.connections() == [str(PORT)]
        assert all(guest.holds(pattern, at * MIB, 65536) for at in range(16))
        in_flight(guest, pattern + 100)
        with guest.world.machines.domain(guest.id) as domain:
            guest.world.machines.direct.fall_back(domain, [VOLUME])
        assert not guest.is_direct()
        guest.io("aio_flush")
        assert guest.of_ours() == guest.connections() == []
        assert all(guest.holds(pattern + 100, at * MIB, 65536) for at in range(16))
    assert guest.holds(1, 65536, MIB - 65536)


def test_limits_are_in_force_past_the_proxy_and_a_new_agent_and_libvirt_find_what_there_is(guest):
    guest.go_direct()
    guest.limit(77)
    with guest.world.machines.domain(guest.id) as domain:
        found = {each["qdev"]: each["inserted"] for each in execute(domain, "query-block")}[DEVICE]
    assert (found["iops"], found["node-name"]) == (77, direct_nodes.node_name(VOLUME, 1))
    before, asked = guest.of_ours(), guest.asked
    left = next(Path(guest.world.daemon.root).rglob(f"domain-*-{guest.id}")) / "stead-direct"
    left.mkdir()  # as by one that was killed while QEMU read its key
    (left / "client-key.pem").touch()
    guest.world.daemon.kill()  # libvirt leaves a job alone that is not its own
    guest.world.daemon.revive()
    guest.world.connect()
    guest.want()
    wait_for(guest.settled, "the new agent has looked")
    assert guest.is_direct()
    assert (guest.of_ours(), guest.asked) == (before, asked)
    with guest.world.machines.domain(guest.id) as domain:
        domain.reset(0)
    guest.write(4, 0, MIB)
    assert guest.is_direct()
    assert guest.holds(4, 0, MIB)
    assert len(before) == 4


def test_only_qemu_can_read_the_key_and_only_for_a_moment(guest, monkeypatch):
    """While QEMU reads it, it is its user's alone; a link in its place is not followed."""
    found = []
    spied = direct_disks.execute

    def spy(domain, command, arguments=None):
        if command == "object-add":
            folder = Path(arguments["dir"])
            found.extend((path.stat().st_uid, path.stat().st_mode & 0o7777) for path in (folder, *folder.iterdir()))
        return spied(domain, command, arguments)

    monkeypatch.setattr(direct_disks, "execute", spy)
    state = next(Path(guest.world.daemon.root).rglob(f"domain-*-{guest.id}"))
    elsewhere = guest.world.root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (state / "stead-direct").symlink_to(elsewhere)
    guest.want()
    wait_for(guest.settled, "it was tried")
    assert not guest.is_direct()
    assert [path.name for path in elsewhere.iterdir()] == ["kept"]
    (state / "stead-direct").unlink()
    guest.world.connect()
    guest.go_direct()
    uid = uid_of(guest.id)
    assert found == [(uid, 0o700), (uid, 0o600), (uid, 0o600), (uid, 0o600)]
    assert not (state / "stead-direct").exists()


def test_a_snapshot_is_of_its_instant_though_the_guest_was_past_the_proxy(guest):
    backups = LibvirtBackups(guest.world.machines, guest.world.root / "backups")
    guest.go_direct()
    guest.write(1, 0, 2 * MIB)
    name = f"snap-0{secrets.token_hex(8)}"
    backup = backups.begin(guest.id, name, {VOLUME: DiskToFreeze(name)})
    assert not guest.is_direct()
    guest.write(2, 0, MIB)
    guest.want()
    wait_for(guest.settled, "it was looked at")
    assert not guest.is_direct(), "while the backup goes on, the guest writes through its filter"
    guest.write(3, MIB, MIB)
    with NbdClient(backup.socket, VOLUME) as client:
        assert client.read(0, 2 * MIB) == b"\1" * 2 * MIB
    backups.end(guest.id, name)
    wait_for(guest.is_direct, "it goes on past the proxy", 30)
    assert guest.holds(2, 0, MIB)
    assert guest.holds(3, MIB, MIB)


def test_a_disk_grows_and_is_reached_directly_again(guest):
    guest.go_direct()
    guest.write(1, 0, MIB)
    guest.hosts.home.daemons.grow(VOLUME, 2 * SIZE)
    guest.hosts.client.daemons.connect(guest.hosts.remote(size=2 * SIZE))
    guest.world.machines.resize_disk(guest.id, VOLUME, 2 * SIZE)
    wait_for(guest.is_direct, "it is direct again")
    (node,) = guest.seen().nodes.values()
    assert node.size == 2 * SIZE
    guest.write(2, 2 * SIZE - MIB, MIB)
    assert guest.holds(1, 0, MIB)


def test_requests_wait_for_a_home_that_was_killed_and_nothing_is_begun_meanwhile(guest):
    guest.go_direct()
    daemons = guest.hosts.home.daemons
    pid = find(daemons._place(VOLUME))
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: find(daemons._place(VOLUME)) is None, "the home's daemon is gone")
    in_flight(guest, 5)
    backups = LibvirtBackups(guest.world.machines, guest.world.root / "backups")
    with pytest.raises(BackupError, match="does not answer"):  # it would wait, and the guest with it
        backups.begin(guest.id, "snap-0123456789abcdef0", {VOLUME: DiskToFreeze("snap-0123456789abcdef0")})
    daemons.serve(guest.hosts.export())
    guest.io("aio_flush")
    assert guest.is_direct()
    assert all(guest.holds(5, at * MIB, 65536) for at in range(16))


def test_a_guest_that_must_release_gets_errors_at_once_past_the_proxy(guest):
    """The home serves another host's attachment: what waits for it would wait for ten minutes."""
    guest.go_direct()
    guest.hosts.home.daemons.serve(guest.hosts.export(2, STRANGER))
    in_flight(guest, 9)
    guest.hosts.client.daemons.refuse(VOLUME)
    away = DiskHome(VOLUME[:-1] + "1", 1, HOME, "127.0.0.1", PORT + 1)
    guest.world.machines.reach_homes(guest.id, [away])
    wait_for(guest.settled, "it was looked at")
    guest.world.machines.cut_off(guest.id, VOLUME)
    assert len(guest.of_ours()) == 4, "the guest does not wait for another home that is away"
    guest.world.machines.reach_homes(guest.id, [])
    guest.world.machines.cut_off(guest.id, VOLUME)
    begun = time.monotonic()
    guest.io("aio_flush")
    guest.write(9, 0, 65536)
    assert time.monotonic() - begun < 100, "nothing waits"
    stranger = guest.hosts.stranger.daemons.connect(guest.hosts.remote(2))
    with NbdClient(stranger.socket, VOLUME) as client:
        assert client.read(0, 16 * MIB) == bytes(16 * MIB), "nothing has come there any more"
    guest.world.machines.cut_off(guest.id, VOLUME)  # once more is nothing


def test_what_is_left_when_a_home_has_ended_is_removed_and_the_guest_waits_for_nothing(guest):
    """As when a guest has released a disk, and its home ends what it served before our node is gone."""
    guest.go_direct()
    disk = guest.seen().disks[VOLUME]
    with guest.world.machines.domain(guest.id) as domain:
        execute(domain, "qom-set", {"path": disk.device, "property": "drive", "value": disk.proxy_node})
    guest.hosts.home.daemons.end(VOLUME)
    begun = time.monotonic()
    guest.world.machines.reach_homes(guest.id, [])
    wait_for(lambda: guest.settled() and guest.of_ours() == [], "nothing of ours is left")
    assert time.monotonic() - begun < 100


def test_another_attachment_is_reached_with_its_own_credentials(guest):
    """The same disk of the same guest, attached anew before it had released the former one."""
    guest.go_direct()
    guest.write(1, 0, MIB)
    guest.hosts.home.daemons.serve(guest.hosts.export(2))
    guest.hosts.client.daemons.connect(guest.hosts.remote(2))
    guest.want(2)
    name = direct_nodes.node_name(VOLUME, 2)
    wait_for(lambda: guest.seen().disks[VOLUME].node == name, "the other attachment is reached directly")
    assert list(guest.seen().nodes) == [name]
    assert guest.holds(1, 0, MIB)


def test_other_authorities_move_a_guest_to_the_proxy_before_its_home_has_them(guest, monkeypatch):
    """A connection by credentials of a lost authority could not be made again, and what is under way would wait."""
    monkeypatch.setattr(direct_disks, "_SOON_SECONDS", 900.0)
    guest.go_direct()
    guest.limit(20)
    in_flight(guest, 6)
    direct = guest.world.connect().direct
    direct.begin_with(guest.hosts.home.identity.authorities)
    guest.want()
    wait_for(guest.settled, "it was looked at")
    assert guest.is_direct(), "these are the ones that it has"
    others = Authority.create("recovered")
    guest.hosts.authority, guest.hosts.client.identity = others, others.issue_host(CLIENT)
    direct = guest.world.connect().direct
    direct.begin_with(guest.hosts.client.identity.authorities)
    guest.want()
    wait_for(lambda: not guest.is_direct() and guest.settled(), "it is with the proxy")
    guest.io("aio_flush")
    assert all(guest.holds(6, at * MIB, 65536) for at in range(16))
    assert guest.of_ours() == []
    tried = guest.asked
    guest.want()
    wait_for(guest.settled, "it was looked at")
    assert (guest.asked, guest.is_direct()) == (tried, False), "its home does not know them"

    guest.hosts.home.identity = others.issue_host(HOME)
    in_flight(guest, 7)
    guest.hosts.home.daemons.serve(guest.hosts.export())
    guest.hosts.client.daemons.connect(guest.hosts.remote())
    guest.io("aio_flush")
    assert all(guest.holds(7, at * MIB, 65536) for at in range(16))
    assert guest.world.machines.renew_credentials(guest.hosts.client.identity.authorities)
    wait_for(guest.is_direct, "it reaches the home itself again")
    assert guest.asked == tried + 1


def test_what_was_refused_is_tried_again_once_when_homes_admit_other_authorities(guest):
    tries = []

    def refuse(*attachment):
        tries.append(attachment)
        raise NoCredentialsError("the controller does not know it yet")

    guest.world.credentials = refuse
    direct = guest.world.connect().direct
    guest.want()
    wait_for(guest.settled, "it was tried")
    for authorities, tried in ((b"one", 2), (b"one", 2), (b"two", 3), (b"two", 3)):
        assert direct.renew(authorities, lambda: [guest.id])
        wait_for(guest.settled, "it was tried, or not")
        assert len(tries) == tried


def test_credentials_that_end_are_replaced(guest, monkeypatch):
    guest.go_direct()
    monkeypatch.setattr(direct_disks, "_RENEWAL_SECONDS", 500 * 86400.0)
    guest.want()
    wait_for(lambda: guest.asked == 2, "others are asked for")
    monkeypatch.undo()
    wait_for(lambda: guest.is_direct() and guest.settled(), "the guest has others")
    assert guest.asked == 2
    assert len(guest.of_ours()) == 4


@pytest.mark.parametrize("why", ["an older home", "an older controller", "no controller"])
def test_a_guest_stays_with_the_proxy_where_it_must(hosts, world, monkeypatch, why):
    if why == "an older home":
        monkeypatch.setattr(graph, "clients", lambda export: [f"OU=host,CN={export.client_host_id}"])
    guest = DirectGuest(world, hosts)
    tries = []
    if why != "an older home":

        def refuse(*attachment):
            tries.append(attachment)
            raise NoCredentialsError(why) if why == "an older controller" else CredentialsError(why)

        guest.credentials = world.credentials = refuse
        world.connect()
    for _ in range(3):
        guest.want()
        wait_for(guest.settled, "it was looked at")
    assert len(tries) + guest.asked == 1, "not in a hot loop"
    assert not guest.is_direct()
    assert guest.of_ours() == []
    guest.write(1, 0, MIB)
    assert guest.holds(1, 0, MIB)
    monkeypatch.undo()
    if why == "an older home":  # whose agent is a newer one now: the daemon stays
        place = hosts.home.daemons._place(VOLUME)
        reported = json.loads(place.about.read_text())
        del reported["serve"]["clients"]  # of which no earlier one knew
        place.about.write_text(json.dumps(reported, sort_keys=True))
        pid = find(place)
        hosts.home.daemons.serve(hosts.export())
        assert find(place) == pid
        world.connect()
        guest.go_direct()
    world.machines.remove(guest.id)
