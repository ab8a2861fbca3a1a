"""A file tree held in memory becomes a tar (for ``mke2fs -d``) or a cpio (for an initrd), the same bytes each time.

Nothing is unpacked on the building machine, so owners, modes and device numbers need no root, and every time stamp is
the same one.
"""

import io
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from images.packages import ImageBuildError


@dataclass(frozen=True)
class Node:
    """One file, folder or symbolic link; ``mode`` has type and permission bits, ``data`` a file's bytes or a target."""

    mode: int
    data: bytes = b""
    owner: int = 0
    group: int = 0


class Tree:
    """Paths (relative, ``/`` between, no ``..``) to nodes; a link to a folder is followed when adding below it."""

    def __init__(self) -> None:
        """Begin with nothing but the root folder."""
        self._nodes: dict[str, Node] = {}

    def __contains__(self, path: str) -> bool:
        """True when a node stands at ``path``, links followed in all parts but the last."""
        return self._resolve(path) in self._nodes

    def __iter__(self) -> Iterator[tuple[str, Node]]:
        """Yield paths and nodes, sorted, each folder before its contents."""
        return iter(sorted(self._nodes.items()))

    def _resolve(self, path: str) -> str:
        """Replace each folder of ``path`` that is a link by the link's target."""
        done = PurePosixPath()
        for part in PurePosixPath(path).parts[:-1]:
            done /= part
            node = self._nodes.get(str(done))
            if node is not None and stat.S_ISLNK(node.mode):
                target = node.data.decode()
                done = PurePosixPath(target.lstrip("/")) if target.startswith("/") else done.parent / target
        return str(done / PurePosixPath(path).name)

    def _put(self, path: str, node: Node) -> None:
        """Set a node; folders above that are missing are made with mode 0755 and owner root."""
        if path.startswith("/") or ".." in PurePosixPath(path).parts:
            raise ImageBuildError(f"not a path inside the tree: {path}")
        place = self._resolve(path)
        for parent in reversed(PurePosixPath(place).parents[:-1]):
            self._nodes.setdefault(str(parent), Node(stat.S_IFDIR | 0o755))
        self._nodes[place] = node

    def add_file(self, path: str, data: bytes, mode: int = 0o644, owner: int = 0) -> None:
        """Set a regular file; the group is the owner's number."""
        self._put(path, Node(stat.S_IFREG | mode, data, owner, owner))

    def add_link(self, path: str, target: str) -> None:
        """Set a symbolic link."""
        self._put(path, Node(stat.S_IFLNK | 0o777, target.encode()))

    def add_folder(self, path: str, mode: int = 0o755, owner: int = 0) -> None:
        """Set a folder; the group is the owner's number."""
        self._put(path, Node(stat.S_IFDIR | mode, b"", owner, owner))

    def add_contents_of(self, folder: Path) -> None:
        """Add all files below ``folder`` of this machine, as root's, executable where git has them executable."""
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder).as_posix()
            if path.is_symlink():
                self.add_link(inside, str(path.readlink()))
            elif path.is_file():
                self.add_file(inside, path.read_bytes(), 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
            elif inside not in self:
                self.add_folder(inside)

    def add_member(self, member: tarfile.TarInfo, data: bytes) -> None:
        """Add a file, link or folder of a package, keeping its mode; hard links and devices are refused."""
        if member.isreg():
            self.add_file(member.name, data, stat.S_IMODE(member.mode))
        elif member.issym():
            self.add_link(member.name, member.linkname)
        elif member.isdir():
            self.add_folder(member.name, stat.S_IMODE(member.mode))
        else:
            raise ImageBuildError(f"{member.name}: this kind of package member is not handled")

    def write_tar(self, path: Path, time: int) -> None:
        """Write all nodes as a tar with every time stamp ``time`` (seconds since 1970)."""
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
            for name, node in [(".", Node(stat.S_IFDIR | 0o755)), *self]:
                info = tarfile.TarInfo(name)
                info.mode, info.uid, info.gid, info.mtime = stat.S_IMODE(node.mode), node.owner, node.group, time
                if stat.S_ISDIR(node.mode):
                    info.type = tarfile.DIRTYPE
                elif stat.S_ISLNK(node.mode):
                    info.type, info.linkname = tarfile.SYMTYPE, node.data.decode()
                else:
                    info.size = len(node.data)
                tar.addfile(info, io.BytesIO(node.data) if info.size else None)

    def to_cpio(self, time: int) -> bytes:
        """Return all nodes as a cpio archive in the kernel's ``newc`` form with every time stamp ``time``."""
        parts = [_cpio_entry(number, name, node, time) for number, (name, node) in enumerate(self, start=1)]
        parts.append(_cpio_entry(0, "TRAILER!!!", Node(0), 0))
        archive = b"".join(parts)
        return archive + bytes(-len(archive) % 512)


def rewrite_as_gnu_tar(source: Path, target: Path) -> None:
    """Write the members of any tar as a GNU tar, without extended attributes, names as bare bytes.

    mke2fs reads names in the locale "C" and refuses a PAX tar with names beyond ASCII.
    """
    with tarfile.open(source) as old, tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as new:
        for member in old:
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isreg() else None)


def _cpio_entry(number: int, name: str, node: Node, time: int) -> bytes:
    """One newc entry: header of hexadecimal fields, name and data, each padded to 4 bytes."""
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(node.mode) else 1
    fields = (number, node.mode, node.owner, node.group, links, time, len(node.data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return head + bytes(-len(head) % 4) + node.data + bytes(-len(node.data) % 4)
