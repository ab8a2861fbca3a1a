"""A volume served to one host and brought to its guests: right bytes, nobody else, and through every kind of end."""

import os
import signal
import socket
import stat
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from stead_agent.disks import disk_users
from stead_agent.disks.disk_files import write_disk
from stead_agent.disks.disk_sources import FileSource, Layer, NbdSource
from stead_agent.disks.exports import daemon, graph
from stead_agent.disks.exports.interface import Export, ExportError, HomeAwayError
from stead_agent.disks.nbd import secured
from stead_agent.disks.qcow2 import render_empty
from stead_proto import tls
from stead_proto.certificates import Authority
from stead_proto.nbd.wire import NbdError
from tests.host.exports.conftest import (
    CLIENT,
    HOME,
    MARK,
    MIB,
    PORT,
    SIZE,
    STRANGER,
    VOLUME,
    End,
    World,
    daemons_of,
    free_port_closed,
    holds,
    qemu_io,
    write,
)
from tests.support.waiting import wait_for


def joined(world: World, base: Layer | None = None, key: bytes = b"") -> NbdSource:
    world.home.daemons.serve(world.export(base=base, key=key))
    return world.client.daemons.connect(world.remote())


def test_bytes_written_on_one_host_are_on_the_other(world: World) -> None:
    source = joined(world)
    write(source, 0x5A, MIB, MIB)
    world.client.daemons.end(VOLUME)
    world.home.daemons.end(VOLUME)
    assert daemons_of(world.root) == []
    here = subprocess.run(
        ["qemu-io", "-f", "qcow2", "-r", "-c", f"read -P 0x5A {MIB} {MIB}", "-c", f"read -P 0 0 {MIB}", world.disk],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "failed" not in here.stdout


@pytest.mark.parametrize("aio", ["io_uring", "native"])
def test_files_are_read_by_io_uring_or_by_threads_where_it_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, aio: str
) -> None:
    """`native` is refused on every kernel, since the page cache is used."""
    monkeypatch.setattr(graph, "_AIO", aio)
    image = f"driver=file,filename={world.disk},aio={aio}"
    tried = subprocess.run(["qemu-io", "-r", "--image-opts", image, "-c", "read 0 512"], check=False)
    is_possible = tried.returncode == 0
    assert not (is_possible and aio == "native")
    source = joined(world)
    write(source, 0x5A, MIB, MIB)
    assert holds(source, 0x5A, MIB, MIB)
    (home,) = (pid for pid in daemons_of(world.root) if listens_on(pid, PORT))
    rings = [each for each in Path(f"/proc/{home}/maps").read_text().splitlines() if "io_uring" in each]
    assert bool(rings) is is_possible


def test_a_volume_over_a_base_has_what_the_base_has(world: World) -> None:
    """The base that was passed, whatever else the disk's own header names, which a guest that broke out could write."""
    base, other = world.root / "base.raw", world.root / "other.raw"
    for path, content in ((base, b"\x77"), (other, b"\xca")):
        path.write_bytes(content * MIB + bytes(SIZE - MIB))
        path.chmod(0o444)
    world.disk.unlink()
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", other, "-F", "raw", world.disk, str(SIZE)], check=True
    )
    source = joined(world, base=Layer(FileSource(base), "raw"))
    assert holds(source, 0x77, 0, MIB)
    write(source, 1, 0, 65536)
    assert holds(source, 1, 0, 65536)
    assert holds(source, 0x77, 65536, MIB - 65536)


def test_an_encrypted_volume_is_decrypted_at_home(world: World) -> None:
    key = os.urandom(32)
    world.disk.unlink()
    world.disk.touch(mode=0o600)
    write_disk(world.disk, render_empty(SIZE, encryption_key=key))
    source = joined(world, key=key)
    write(source, 0x5A, MIB, MIB)
    assert holds(source, 0x5A, MIB, MIB)
    assert b"\x5a" * 512 not in world.disk.read_bytes()
    for path in world.root.rglob("*"):  # nor is the key in any file
        assert not path.is_file() or (key not in (content := path.read_bytes()) and key.hex().encode() not in content)
    for pid in daemons_of(world.root):
        assert key.hex().encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    world.home.daemons.end(VOLUME)
    with pytest.raises(ExportError) as failure:
        world.home.daemons.serve(world.export(key=os.urandom(32)))
    assert "Invalid password" in str(failure.value)


def test_discarded_and_zeroed_blocks_are_freed(world: World) -> None:
    source = joined(world)
    write(source, 0x11, 0, 32 * MIB)
    full = world.disk.stat().st_blocks
    done = qemu_io(source, f"discard 0 {16 * MIB}", f"write -z -u {16 * MIB} {16 * MIB}", "flush")
    assert done.returncode == 0, done
    assert holds(source, 0, 16 * MIB, 16 * MIB)
    assert world.disk.stat().st_blocks * 512 < full * 512 - 16 * MIB


def test_each_process_is_a_user_of_its_own_with_no_rights_and_no_keys_beside_it(world: World) -> None:
    joined(world)
    processes = daemons_of(world.root)
    assert len(processes) == 2
    for pid in processes:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert set(status["Uid"].split()) == set(status["Gid"].split()) == {str(disk_users.uid_of(VOLUME))}
        assert status["Groups"].split() == []
        assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {0}
        assert status["NoNewPrivs"].strip() == "1"
        assert b"KEY" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    keys = [path for path in world.root.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()[: 1 << 16]]
    assert keys == []
    assert stat.S_IMODE(world.disk.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "who", ["another host's certificate", "a certificate of another CA", "an operator's certificate"]
)
def test_only_the_host_of_the_attachment_is_let_in(world: World, who: str) -> None:
    world.home.daemons.serve(world.export())
    match who:
        case "another host's certificate":
            pass
        case "a certificate of another CA":
            forged = Authority.create("Other CA").issue_host(CLIENT)
            world.stranger.identity = replace(forged, ca_pem=forged.ca_pem + world.authority.certificate_pem)
        case _:
            world.stranger.identity = world.authority.issue_operator(CLIENT)
    with pytest.raises(HomeAwayError):
        world.stranger.daemons.connect(world.remote())
    assert world.stranger.daemons.present() == frozenset()
    assert world.stranger.daemons.source(VOLUME) is None
    world.client.daemons.connect(world.remote())  # while the right one is


def test_a_guest_is_let_in_by_what_it_was_given_for_just_this_attachment(world: World) -> None:
    """An earlier one's, stored, or another volume's or host's, opens nothing; nor does the home believe another CA."""
    world.home.daemons.serve(world.export())
    server = secured.Server("127.0.0.1", PORT, tls.host_server_name(HOME))
    issue = world.authority.issue_attachment
    held = issue(VOLUME, 1, CLIENT)
    assert secured.size_of(server, VOLUME, held, 5) == SIZE
    forged = Authority.create("Other CA").issue_attachment(VOLUME, 1, CLIENT)
    others = [issue(VOLUME, 2, CLIENT), issue(VOLUME, 1, STRANGER), issue(VOLUME[:-1] + "1", 1, CLIENT)]
    for other in [*others, replace(forged, ca_pem=world.authority.certificate_pem)]:
        with pytest.raises(secured.NotAdmittedError):
            secured.size_of(server, VOLUME, other, 5)
    with pytest.raises(secured.NotAdmittedError, match="not served"):
        secured.size_of(server, VOLUME[:-1] + "1", held, 5)
    with pytest.raises(NbdError, match="is not"):
        secured.size_of(replace(server, name=tls.host_server_name(STRANGER)), VOLUME, held, 5)
    world.home.daemons.serve(world.export(generation=2))
    with pytest.raises(secured.NotAdmittedError):
        secured.size_of(server, VOLUME, held, 5)
    assert secured.size_of(server, VOLUME, others[0], 5) == SIZE
    world.home.daemons.end(VOLUME)
    with pytest.raises(NbdError) as gone:
        secured.is_there(server, 5)
    assert not isinstance(gone.value, secured.NotAdmittedError)


def test_a_host_that_enrolled_again_is_let_in_by_its_certificate_of_now_alone(world: World) -> None:
    """Nobody waits for that: the processes stay, and both are let in, until all on the host have taken its new one."""
    source = joined(world)
    write(source, 7, 0, MIB)
    processes, former, present = daemons_of(world.root), world.client.identity, world.authority.issue_host(CLIENT, MARK)
    server = secured.Server("127.0.0.1", PORT, tls.host_server_name(HOME))

    def are_in(export: Export) -> list[bool]:
        world.home.daemons.serve(export)
        found = []
        for identity in (former, present):
            try:
                found.append(secured.size_of(server, VOLUME, identity, 5) == SIZE)
            except secured.NotAdmittedError:
                found.append(False)
        return found

    again = replace(world.export(), client_enrolment=MARK)
    assert are_in(world.export()) == [True, False]
    assert are_in(replace(again, client_former_enrolment="")) == [True, True]
    assert are_in(again) == [False, True]
    assert daemons_of(world.root) == processes
    assert holds(source, 7, 0, MIB)
    world.client.identity = present
    world.client.daemons.connect(world.remote())
    assert holds(source, 7, 0, MIB)
    assert are_in(replace(again, generation=2)) == [False, True]


def test_a_client_believes_the_home_alone(world: World) -> None:
    world.stranger.daemons.serve(world.export())
    with pytest.raises(HomeAwayError, match="does not match the hostname"):
        world.client.daemons.connect(world.remote())
    world.client.daemons.connect(world.remote(home=STRANGER))


def test_without_tls_nothing_is_answered(world: World) -> None:
    world.home.daemons.serve(world.export())
    plain = subprocess.run(
        ["qemu-img", "info", f"nbd://127.0.0.1:{PORT}/{VOLUME}"], capture_output=True, text=True, check=False
    )
    assert plain.returncode != 0
    assert "TLS" in plain.stderr


def test_a_new_generation_cuts_off_the_former_client(world: World) -> None:
    source = joined(world)
    write(source, 1, 0, MIB)
    world.home.daemons.serve(world.export(generation=2, client=STRANGER))
    late = subprocess.Popen(
        ["qemu-io", "-f", "raw", "-c", f"write -P 9 0 {MIB}", f"nbd+unix:///{VOLUME}?socket={source.socket}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    of_new = world.stranger.daemons.connect(world.remote(generation=2))
    assert holds(of_new, 1, 0, MIB)
    assert late.poll() is None  # it waits for a home that will not come back
    world.client.daemons.end(VOLUME)  # although requests are waiting
    late.kill()
    late.communicate(timeout=60)
    assert holds(of_new, 1, 0, MIB)


def test_a_client_that_must_release_gets_errors_instead_of_waiting(world: World) -> None:
    source = joined(world)
    disk_users.give(source, 12345)
    world.home.daemons.end(VOLUME)
    patient = f"driver=nbd,server.type=unix,server.path={source.socket},export={VOLUME},reconnect-delay=60"
    waiting = subprocess.Popen(
        ["stdbuf", "-oL", "qemu-io", "--image-opts", "-c", "length", "-c", f"write 0 {MIB}", patient],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    # A connection is not enough: cut off while it is agreed upon, the volume cannot be opened, and nobody tries again.
    assert hear(waiting) == f"{SIZE // MIB} MiB\n"
    world.client.daemons.refuse(VOLUME)
    assert "write failed: Input/output error" in waiting.communicate(timeout=60)[0]
    assert world.client.daemons.source(VOLUME) == source
    assert source.socket.stat().st_uid == 12345
    world.client.daemons.refuse(VOLUME)  # again is nothing
    world.client.daemons.end(VOLUME)


def test_the_same_again_changes_nothing(world: World) -> None:
    joined(world)
    before = daemons_of(world.root)
    joined(world)
    assert daemons_of(world.root) == before


def test_daemons_outlive_the_agents_and_are_found_again(world: World) -> None:
    source = joined(world)
    write(source, 3, 0, MIB)
    before = daemons_of(world.root)
    world.home.restart_agent()
    world.client.restart_agent()
    assert world.client.daemons.source(VOLUME) == source
    assert world.home.daemons.source(VOLUME) is None
    assert joined(world) == source
    assert daemons_of(world.root) == before
    assert holds(source, 3, 0, MIB)
    world.home.restart_agent()
    world.home.daemons.end(VOLUME)
    assert len(daemons_of(world.root)) == 1


def test_what_was_written_is_there_after_the_home_was_killed_under_it(world: World) -> None:
    source = joined(world)
    ended = threading.Event()
    world.home.daemons.subscribe(lambda _volume_id: ended.set())
    (server,) = (pid for pid in daemons_of(world.root) if listens_on(pid, PORT))
    qemu = subprocess.Popen(
        ["stdbuf", "-oL", "qemu-io", "-t", "writeback", "-f", "raw", f"nbd+unix:///{VOLUME}?socket={source.socket}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    for each in range(8):  # no flush: what the guest got as written must be so, since it does not notice the death
        say(qemu, f"write -P {each + 1} {each * 4 * MIB} {MIB}")
        wait_for(lambda: "wrote" in hear(qemu), "it is written")
    os.kill(server, signal.SIGKILL)
    wait_for(ended.is_set, "the agent hears of it")
    say(qemu, f"write -P 99 {40 * MIB} {MIB}")
    world.home.daemons.serve(world.export())
    wait_for(lambda: "wrote" in hear(qemu), "the write that waited is done")
    qemu.communicate("quit\n", timeout=60)
    for each in range(8):
        assert holds(source, each + 1, each * 4 * MIB, MIB)
    assert holds(source, 99, 40 * MIB, MIB)


def test_a_killed_proxy_comes_again_for_the_same_guest(world: World) -> None:
    source = joined(world)
    disk_users.give(source, 12345)  # as `machines` does when a guest gets it
    write(source, 7, 0, MIB)
    (proxy,) = (pid for pid in daemons_of(world.root) if not listens_on(pid, PORT))
    ended = threading.Event()
    world.client.daemons.subscribe(lambda _volume_id: ended.set())
    os.kill(proxy, signal.SIGKILL)
    wait_for(ended.is_set, "the agent hears of it")
    assert world.client.daemons.source(VOLUME) == source
    assert world.client.daemons.connect(world.remote()) == source
    found = source.socket.stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (12345, 0o600)
    assert holds(source, 7, 0, MIB)


def test_an_end_that_was_cut_off_halfway_is_finished_or_begun_anew(world: World) -> None:
    source = joined(world)
    for end in (world.home, world.client):
        (end.folder / VOLUME / "about").unlink()  # as if the agent had been killed before it wrote this
        end.restart_agent()
        assert end.daemons.present() == {VOLUME}
    assert world.client.daemons.source(VOLUME) is None
    assert joined(world) == source
    assert len(daemons_of(world.root)) == 2


def test_what_cannot_be_served_leaves_nothing(world: World) -> None:
    with pytest.raises(ExportError):
        world.home.daemons.serve(replace(world.export(), disk=Layer(FileSource(world.root / "nothing"), "qcow2")))
    with socket.create_server(("127.0.0.1", PORT)), pytest.raises(ExportError):
        world.home.daemons.serve(world.export())
    assert world.home.daemons.present() == frozenset()
    assert daemons_of(world.root) == []
    with pytest.raises(HomeAwayError):
        world.client.daemons.connect(world.remote(home=HOME))
    assert daemons_of(world.root) == []
    assert free_port_closed(PORT)


def say(qemu: "subprocess.Popen[str]", command: str) -> None:
    """Send qemu-io one command: it reads a line at a time, and only when there is something new to read."""
    assert qemu.stdin
    qemu.stdin.write(f"{command}\n")
    qemu.stdin.flush()


def hear(qemu: "subprocess.Popen[str]") -> str:
    assert qemu.stdout
    return qemu.stdout.readline()


def listens_on(pid: int, port: int) -> bool:
    """Tell whether a process has a listening TCP socket on this port."""
    wanted = {
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].split(":")[1], 16) == port
    }
    return any(
        f"socket:[{inode}]" in str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir() for inode in wanted
    )


def test_daemons_are_replaced_before_their_certificate_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    source = joined(world)
    write(source, 0x5A, 0, MIB)
    with monkeypatch.context() as patched:
        patched.delattr(secured, "size_of")
        assert world.client.daemons.connect(world.remote()) == source, "a home is asked only about another certificate"
    before = daemons_of(world.root)
    assert world.home.daemons.outdated() == world.client.daemons.outdated() == frozenset()
    for end, name in ((world.home, HOME), (world.client, CLIENT)):
        end.identity = world.authority.issue_host(name)
        assert end.daemons.outdated() == {VOLUME}
    world.home.daemons.serve(world.export())
    assert holds(source, 0x5A, 0, MIB), "the former certificate is good for some months more"
    assert world.client.daemons.connect(world.remote()) == source
    assert not set(before) & set(daemons_of(world.root))
    assert world.home.daemons.outdated() == world.client.daemons.outdated() == frozenset()
    assert holds(source, 0x5A, 0, MIB)


def test_other_authorities_of_one_host_end_nothing_until_the_other_has_them(world: World) -> None:
    """Each joins the controller of another cloud in its own time, as after the loss of the former one."""
    source = joined(world)
    write(source, 0x5A, 0, MIB)
    others, before = Authority.create("recovered"), set(daemons_of(world.root))
    kept = world.export()  # as the lost controller named it
    for end, name in ((world.client, CLIENT), (world.home, HOME)):
        end.identity = others.issue_host(name)
        assert end.daemons.is_outdated(VOLUME)
        world.home.daemons.serve(kept)
        assert world.client.daemons.connect(world.remote()) == source
        assert world.client.daemons.connect(world.remote(size=SIZE)) == source
        assert set(daemons_of(world.root)) == before
        assert holds(source, 0x5A, 0, MIB)
    world.home.daemons.serve(world.export())
    assert not world.home.daemons.is_outdated(VOLUME)
    assert world.client.daemons.connect(world.remote()) == source
    assert not world.client.daemons.is_outdated(VOLUME)
    assert holds(source, 0x5A, 0, MIB)
    assert not set(daemons_of(world.root)) & before
    now = set(daemons_of(world.root))
    world.home.daemons.serve(kept)
    world.home.identity = world.authority.issue_host(HOME)
    world.home.daemons.serve(replace(kept, generation=2))
    assert not world.home.daemons.is_outdated(VOLUME), "another attachment is served by the certificate of now"
    assert len(now & set(daemons_of(world.root))) == 1
    world.home.identity = others.issue_host(HOME)
    end_process(world.home)
    world.home.daemons.serve(replace(kept, generation=2))
    assert not world.home.daemons.is_outdated(VOLUME), "there is none that could keep it"


def end_process(end: End) -> None:
    """Kill a host's process of the volume, as an operator may by mistake."""
    pid = daemon.find(end.daemons._place(VOLUME))
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not end.daemons._watch.sees(VOLUME), "its end is noticed")


def test_what_by_former_is_served_by_the_certificate_that_its_user_knows(world: World) -> None:
    """Also by a process that starts after its host has joined another controller; so does the proxy of the other one."""
    source = joined(world)
    write(source, 0x5A, 0, MIB)
    others = Authority.create("recovered")
    home, client = world.home, world.client
    home.former, home.identity = home.identity, others.issue_host(HOME)
    unclaimed = replace(world.export(), confirmed_by=b"", by_former=True)
    end_process(home)
    home.daemons.serve(unclaimed)
    assert holds(source, 0x5A, 0, MIB)
    client.former, client.identity = client.identity, others.issue_host(CLIENT)
    end_process(client)
    assert client.daemons.connect(world.remote()) == source
    assert holds(source, 0x5A, 0, MIB)
    before = set(daemons_of(world.root))
    home.daemons.serve(unclaimed)
    assert client.daemons.connect(world.remote()) == source
    assert set(daemons_of(world.root)) == before
    assert home.daemons.outdated() == client.daemons.outdated() == {VOLUME}

    home.daemons.serve(world.export())  # it is adopted
    assert client.daemons.connect(world.remote()) == source
    assert home.daemons.outdated() == client.daemons.outdated() == frozenset()
    end_process(client)
    assert client.daemons.connect(world.remote()) == source
    assert client.daemons.outdated() == frozenset(), "its home admits the one of now"
    assert holds(source, 0x5A, 0, MIB)
    end_process(home)
    home.daemons.serve(replace(world.export(), confirmed_by=b""))
    assert home.daemons.outdated() == frozenset(), "it was adopted, though no controller has answered this agent"


def test_a_proxy_that_starts_late_is_of_the_same_guest(world: World) -> None:
    """Its home has not come back yet, when it is to be replaced, and the agent is another one by then."""
    source = joined(world)
    disk_users.give(source, 12345)
    world.home.daemons.end(VOLUME)
    for _ in range(2):
        with pytest.raises(HomeAwayError):
            world.client.daemons.connect(world.remote(2))
    assert not source.socket.exists()
    world.client.restart_agent()
    world.home.daemons.serve(world.export(2))
    assert world.client.daemons.connect(world.remote(2)) == source
    assert source.socket.stat().st_uid == 12345
    world.client.daemons.end(VOLUME)
    assert list(world.client.folder.iterdir()) == []


def test_a_refusal_that_was_cut_off_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent dies when the proxy has gone, and before there is what answers with errors."""
    source = joined(world)

    class DeathError(BaseException):
        pass

    def die(*_arguments: object, **_options: object) -> None:
        raise DeathError

    with monkeypatch.context() as patch:
        patch.setattr(world.client.daemons, "_start", die)
        with pytest.raises(DeathError):
            world.client.daemons.refuse(VOLUME)
    world.client.restart_agent()
    assert world.client.daemons.source(VOLUME) == source
    world.client.daemons.refuse(VOLUME)
    failed = qemu_io(source, "read 0 512", seconds=5)
    assert "Input/output error" in failed.stdout + failed.stderr, failed
    world.client.daemons.end(VOLUME)
    assert world.client.daemons.source(VOLUME) is None
    assert [path.name for path in world.client.folder.iterdir()] == []
