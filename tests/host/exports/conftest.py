"""Two hosts' ends of a shared volume on one machine: each with its own folder and its own certificate."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stead_agent.disks.disk_sources import FileSource, Layer, NbdSource
from stead_agent.disks.exports.interface import Export, Remote
from stead_agent.disks.exports.storage_daemons import StorageDaemons
from stead_proto import limits
from stead_proto.certificates import Authority
from stead_proto.tls import Identity
from tests.support import box

VOLUME = "vol-0123456789abcdef0"
HOME, CLIENT, STRANGER = "host-00000000000000001", "host-00000000000000002", "host-00000000000000003"
MARK = "0123456789abcdef"  # of an enrolment
PORT = limits.EXPORT_PORTS[0]
MIB = 1 << 20
SIZE = 64 * MIB


@dataclass
class End:
    """A host: `daemons` as an agent of it has them."""

    folder: Path
    identity: Identity
    former: Identity | None = None  # of before its controller was lost

    def __post_init__(self) -> None:
        self.daemons = self.agent()

    def agent(self) -> StorageDaemons:
        return StorageDaemons(self.folder, "127.0.0.1", lambda: self.identity, lambda: self.former)

    def restart_agent(self) -> None:
        """Another agent process: what the old one had in memory is lost."""
        self.daemons.close()
        self.daemons = self.agent()

    def clean(self) -> None:
        for volume_id in self.daemons.present():
            self.daemons.end(volume_id)
        self.daemons.close()


@dataclass
class World:
    """A home with a disk, the host that may use it, and another host of the cloud."""

    root: Path
    authority: Authority
    home: End
    client: End
    stranger: End

    @property
    def disk(self) -> Path:
        return self.root / "disk.qcow2"

    def export(
        self, generation: int = 1, client: str = CLIENT, *, base: Layer | None = None, key: bytes = b""
    ) -> Export:
        disk = Layer(FileSource(self.disk), "qcow2")
        return Export(VOLUME, generation, client, PORT, disk, base, key, confirmed_by=self.home.identity.authorities)

    def remote(self, generation: int = 1, home: str = HOME, size: int = SIZE) -> Remote:
        return Remote(VOLUME, generation, home, "127.0.0.1", PORT, size)


@pytest.fixture
def world() -> Iterator[World]:
    """Both ends without any process, and a blank disk of 64 MiB at home."""
    with new_world() as made:
        yield made


@contextlib.contextmanager
def new_world() -> Iterator[World]:
    """Make both ends; in the end nothing may be left of them."""
    root = Path(tempfile.mkdtemp(prefix="stead-test-", dir="/var/tmp"))
    root.chmod(0o711)
    authority = Authority.create()
    ends = [End(root / name[-1], authority.issue_host(name)) for name in (HOME, CLIENT, STRANGER)]
    made = World(root, authority, *ends)
    try:
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", made.disk, str(SIZE)], check=True)
        yield made
    finally:
        with contextlib.ExitStack() as cleaning:  # what cannot be cleaned keeps nothing else from it
            cleaning.callback(shutil.rmtree, root)
            for end in ends:  # the last one first: a proxy whose home has gone takes its time
                cleaning.callback(end.clean)
    assert not daemons_of(root), "a storage daemon is left"


def daemons_of(root: Path) -> list[int]:
    """The storage daemons of a world that run."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and box.ours(folder.name):
            with contextlib.suppress(OSError):  # it ended while we looked
                words = (folder / "cmdline").read_bytes()
                if words.startswith(b"qemu-storage-daemon") and str(root).encode() + b"/" in words:
                    found.append(int(folder.name))
    return found


def qemu_io(source: NbdSource, *commands: str, seconds: float = 60) -> "subprocess.CompletedProcess[str]":
    """Do I/O as a guest's QEMU would."""
    words = [word for command in commands for word in ("-c", command)]
    url = f"nbd+unix:///{source.export}?socket={source.socket}"
    return subprocess.run(
        ["qemu-io", "-f", "raw", "-d", "unmap", *words, url],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def holds(source: NbdSource, pattern: int, offset: int, length: int) -> bool:
    """Tell whether there are only bytes of this value."""
    read = qemu_io(source, f"read -P {pattern} {offset} {length}")
    assert f"read {length}/{length}" in read.stdout, read
    return "Pattern verification failed" not in read.stdout


def write(source: NbdSource, pattern: int, offset: int, length: int) -> None:
    done = qemu_io(source, f"write -P {pattern} {offset} {length}", "flush")
    assert f"wrote {length}/{length}" in done.stdout, done


def free_port_closed(port: int) -> bool:
    """Tell whether nobody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
