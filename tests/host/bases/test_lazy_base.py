"""A base that is served while it comes: what is read comes first, kills and a store that is away only delay it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from stead_agent.disks import disk_users
from stead_agent.disks.bases.base_servers import BaseServers
from stead_agent.disks.bases.interface import BaseAwayError, BaseSpec
from stead_agent.disks.bases.local_bases import EAGER_BYTES, LocalBases
from stead_agent.disks.disk_sources import FileSource, NbdSource
from stead_proto.block_cipher import BlockCipher
from stead_proto.blocks import BLOCK_BYTES, ZERO_BLOCK
from stead_proto.nbd import wire
from stead_proto.nbd.client import NbdClient
from tests.support.fake_block_store import random_disk
from tests.support.waiting import wait_for

SNAP = "snap-0123456789abcdef0"
SIZE = 60 * BLOCK_BYTES + 4096
SPEC = BaseSpec(SNAP, SIZE, EAGER_BYTES + 1)


@pytest.fixture
def root():
    parent = Path(tempfile.mkdtemp(prefix="stead-test-", dir="/var/tmp"))
    parent.chmod(0o711)
    yield parent
    shutil.rmtree(parent)


@pytest.fixture
def bases(root, fake, store):
    fake.identity().save(root / "state")
    made = connect(root, fake, store)
    yield made
    made.remove(SNAP)
    assert not list((made.folder / "filling").iterdir())
    assert not list(made.folder.glob("*.nbd"))


def connect(root, fake, store):
    """Be an agent that has just started."""
    return LocalBases(
        root / "disks",
        store,
        servers=lambda folder: BaseServers(folder, root / "state", (fake.address,)),
    )


def socket_of(bases):
    source = bases.source(SNAP).source
    assert isinstance(source, NbdSource)
    return source.socket


def server_pid(bases):
    """The server's process; a new one has none until QEMU has written its file."""
    return int((bases.folder / "filling" / f"{SNAP}.server").read_text() or 0)


def test_what_is_read_comes_first_and_the_rest_behind(bases, fake):
    disk = random_disk(1, SIZE, holes=0.3)
    fake.keep(SNAP, disk)
    assert bases.source(SNAP) is None
    bases.ensure(SPEC)
    assert bases.present() == {SNAP}
    with NbdClient(socket_of(bases), "", contexts=(wire.ALLOCATION,)) as client:
        assert client.size == SIZE
        at = 41 * BLOCK_BYTES + 1000
        assert client.read(at, BLOCK_BYTES) == disk[at : at + BLOCK_BYTES]
        assert len(fake.fetched) <= 2 + 2 * 4, "more was fetched than was read, and what follows it"
        zero = sum(each.length for each in client.status(0, SIZE)[wire.ALLOCATION] if each.flags & wire.IS_ZERO)
        assert zero == sum(
            BLOCK_BYTES for each in range(60) if not any(disk[each * BLOCK_BYTES : (each + 1) * BLOCK_BYTES])
        )
        ranges = [(block * BLOCK_BYTES, BLOCK_BYTES) for block in range(60)]
        assert all(content == disk[start : start + BLOCK_BYTES] for start, content in client.read_each(ranges))
        wait_for(lambda: isinstance(bases.source(SNAP).source, FileSource), "the base is whole")
        assert bases.source(SNAP).source.path.read_bytes() == disk
        assert client.read(0, 4096) == disk[:4096], "who was connected is served on"
    assert len(fake.fetched) == len(set(fake.fetched))


def test_the_rest_is_fetched_without_readers(bases, fake):
    disk = random_disk(2, SIZE)
    fake.keep(SNAP, disk)
    bases.ensure(SPEC)
    wait_for(lambda: isinstance(bases.source(SNAP).source, FileSource), "the base is whole")
    assert bases.source(SNAP).source.path.read_bytes() == disk


def test_a_killed_server_is_revived_and_goes_on(bases, fake):
    disk = random_disk(3, SIZE, holes=0)
    fake.keep(SNAP, disk)
    bases.ensure(SPEC)
    with NbdClient(socket_of(bases), "") as client:
        client.read(0, 4 << 20)
    before = server_pid(bases)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: server_pid(bases) not in (0, before) and _reads(bases), "another server serves it", poll=0.1)
    with NbdClient(socket_of(bases), "") as client:
        ranges = [(block * BLOCK_BYTES, BLOCK_BYTES) for block in range(60)]
        assert all(content == disk[start : start + BLOCK_BYTES] for start, content in client.read_each(ranges))


def _reads(bases):
    try:
        with NbdClient(socket_of(bases), ""):
            return True
    except Exception:  # whatever goes wrong: not yet
        return False


def test_the_next_agent_adopts_the_server(bases, root, fake, store):
    fake.keep(SNAP, random_disk(4, SIZE))
    bases.ensure(SPEC)
    before = server_pid(bases)
    another = connect(root, fake, store)
    another.ensure(SPEC)
    assert another.source(SNAP) == bases.source(SNAP)
    assert server_pid(bases) == before


def test_reads_wait_for_a_store_that_is_away(bases, fake):
    disk = random_disk(5, SIZE, holes=0)
    fake.keep(SNAP, disk)
    bases.ensure(SPEC)
    fake.stop()
    got = []
    with NbdClient(socket_of(bases), "") as client:
        reading = threading.Thread(target=lambda: got.append(client.read(30 * BLOCK_BYTES, BLOCK_BYTES)))
        reading.start()
        reading.join(1.0)
        assert reading.is_alive()
        fake.start()
        reading.join(60)  # an attempt to connect may take eight seconds
        assert got == [disk[30 * BLOCK_BYTES : 31 * BLOCK_BYTES]]


def test_a_base_that_cannot_begin_says_so(root, bases, fake, monkeypatch):
    monkeypatch.setattr("stead_agent.disks.bases.base_servers._START_SECONDS", 3.0)
    with pytest.raises(BaseAwayError, match="NOT_FOUND"):
        bases.ensure(SPEC)
    fake.keep(SNAP, random_disk(6, SIZE))
    bases.ensure(SPEC)
    assert isinstance(bases.source(SNAP).source, NbdSource)


def test_qemu_reads_an_overlay_over_it(bases, root, fake):
    disk = random_disk(7, 60 * BLOCK_BYTES, holes=0.5)
    fake.keep(SNAP, disk)
    bases.ensure(BaseSpec(SNAP, 60 * BLOCK_BYTES, EAGER_BYTES + 1))
    copy = root / "copy.raw"
    options = f"driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={socket_of(bases)}"
    subprocess.run(["qemu-img", "convert", "--image-opts", options, "-O", "raw", copy], check=True)
    assert copy.read_bytes() == disk


def test_only_processes_that_use_disks_are_served(bases, fake):
    fake.keep(SNAP, random_disk(8, SIZE))
    bases.ensure(SPEC)
    greeting = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(len(s.recv(18)))"
    for uid, greeted in ((65534, "0"), (disk_users.uid_of("i-1"), "18"), (disk_users.uid_of("vol-1"), "18")):
        said = subprocess.run(
            ["setpriv", f"--reuid={uid}", "--clear-groups", "/usr/bin/python3", "-I", "-c", greeting, socket_of(bases)],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert said.stdout.strip() == greeted, uid


KEY = bytes(range(32))


def keep_sealed(fake, disk):
    """Have a snapshot whose blocks are encrypted by place."""
    fake.keep(SNAP, sealed(disk))


def sealed(disk):
    cipher = BlockCipher(KEY)
    parts = []
    for number, start in enumerate(range(0, len(disk), BLOCK_BYTES)):
        content = disk[start : start + BLOCK_BYTES].ljust(BLOCK_BYTES, b"\0")
        parts.append(content if content == ZERO_BLOCK else cipher.encrypt(number, content))
    return b"".join(parts)


def read_as(socket, uid, size=8):
    """What a process of some user reads from a socket that it may open; nothing when it is hung up on."""
    code = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(len(s.recv(8)))"
    command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", sys.executable, "-c", code, socket]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) == size


def test_an_encrypted_base_stays_encrypted_and_is_read_with_its_key_alone(bases, root, fake, store):
    disk = random_disk(9, SIZE, holes=0.3)
    keep_sealed(fake, disk)
    spec = BaseSpec(SNAP, SIZE, EAGER_BYTES + 1, encrypted=True, encryption_key=KEY)
    bases.ensure(spec)
    with NbdClient(socket_of(bases), "", contexts=(wire.ALLOCATION,), timeout=60) as client:
        ranges = [(0, 4096), (3 * BLOCK_BYTES - 512, 1024), (SIZE - 4096, 4096), (59 * BLOCK_BYTES, 512)]
        ranges += [(block * BLOCK_BYTES, 2 * BLOCK_BYTES) for block in range(1, 59, 2)]  # all is asked for
        for offset, content in client.read_each(ranges, in_flight=4):
            length = dict(ranges)[offset]
            assert content == disk[offset : offset + length]
    whole = bases.folder / f"{SNAP}.sealed"
    wait_for(whole.exists, "it is whole", 30, poll=0.05)
    assert whole.read_bytes() == sealed(disk)[:SIZE]
    assert whole.stat().st_mode & 0o777 == 0o400
    command = Path(f"/proc/{server_pid(bases)}/cmdline").read_bytes()
    assert KEY not in command
    assert KEY.hex().encode() not in command

    guest, other = (disk_users.uid_of(each) for each in ("i-0123456789abcdef0", "i-0123456789abcdef1"))
    assert not read_as(socket_of(bases), guest)
    disk_users.allow_read(bases.source(SNAP).source, guest)
    assert read_as(socket_of(bases), guest)
    assert not read_as(socket_of(bases), other)

    before = server_pid(bases)
    os.kill(before, signal.SIGKILL)
    wait_for(
        lambda: bases._servers.serves(SNAP) and server_pid(bases) not in (0, before), "it is revived", 30, poll=0.05
    )
    with NbdClient(socket_of(bases), "", timeout=60) as client:
        ((_, content),) = client.read_each([(0, BLOCK_BYTES)], in_flight=1)
    assert content == disk[:BLOCK_BYTES]
    assert read_as(socket_of(bases), guest), "who may read it is known to the next server"

    bases.ensure(BaseSpec(SNAP, SIZE, EAGER_BYTES + 1, encrypted=True))
    assert not socket_of(bases).exists()
    assert bases._servers._process(SNAP) is None
    bases.remove(SNAP)
    assert [each.name for each in (bases.folder / "unused").iterdir()] == [whole.name]
    fake.fetched.clear()
    connect(root, fake, store).ensure(spec)
    assert not fake.fetched
    assert bases.present() == {SNAP}
    bases._servers.end(SNAP)
