"""Malicious image files: the known ways to make a cloud read files of its hosts, or do unbounded work.

Each is made from a valid file of `qemu-img`, by changing bytes that the format's specification defines.
"""

import struct
import subprocess
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
CLUSTER = 1 << 16


@dataclass(frozen=True)
class Crafted:
    """A file, its declared format, and a word of the expected error message."""

    name: str
    image_format: str
    refusal: str
    make: Callable[[Path, Path], None]  # the file to write, the file that must not be read


def honest(path: Path, image_format: str, size: int = 8 * MIB, subformat: str = "", content: bytes = b"") -> None:
    """Make a valid image with `qemu-img`, with some content at its start."""
    raw = path.with_name(path.name + ".raw")
    with raw.open("wb") as file:
        file.truncate(size)
        file.write(content)
    driver = {"vhd": "vpc"}.get(image_format, image_format)
    options = []
    if driver == "vpc":
        options.append("force_size=on")
    if subformat:
        options.append(f"subformat={subformat}")
    command = ["qemu-img", "convert", "-f", "raw", "-O", driver]
    command += ["-o", ",".join(options)] if options else []
    subprocess.run([*command, raw, path], check=True, capture_output=True, timeout=60)
    raw.unlink()


def patch(path: Path, *changes: tuple[int, bytes]) -> None:
    """Write bytes at offsets of a file; a negative offset counts from its end."""
    with path.open("r+b") as file:
        for offset, content in changes:
            file.seek(offset, 2 if offset < 0 else 0)
            file.write(content)


def qcow2(path: Path, *changes: tuple[int, bytes], size: int = 8 * MIB) -> None:
    honest(path, "qcow2", size, content=b"honest" * 20000)
    patch(path, *changes)


def _backed_by(name: bytes, made_of: str) -> Callable[[Path, Path], None]:
    def make(path: Path, canary: Path) -> None:
        text = name.replace(b"CANARY", str(canary).encode())
        extension = struct.pack(">II", 0xE2792ACA, len(made_of)) + made_of.encode().ljust(8, b"\0")
        place = 104 + len(extension) + 8
        qcow2(path, (8, struct.pack(">QI", place, len(text))), *_extended(extension + bytes(8)), (place, text))

    return make


def _changed(*changes: tuple[int, bytes]) -> Callable[[Path, Path], None]:
    return lambda path, _canary: qcow2(path, *changes)


def _extended(extension: bytes) -> tuple[tuple[int, bytes], ...]:
    """A header extension that replaces all others."""
    return (100, struct.pack(">I", 104)), (104, extension)


def _external_data(path: Path, canary: Path) -> None:
    name = str(canary).encode()
    extension = struct.pack(">II", 0x44415441, len(name)) + name + bytes(-len(name) % 8) + bytes(8)
    qcow2(path, (72, struct.pack(">Q", 1 << 2)), *_extended(extension))


def _data_extension(path: Path, canary: Path) -> None:
    name = str(canary).encode()
    qcow2(path, *_extended(struct.pack(">II", 0x44415441, len(name)) + name + bytes(-len(name) % 8) + bytes(8)))


def _tables(path: Path) -> tuple[int, int, int]:
    """The offsets of a valid qcow2's L1 table, first L2 table and first data cluster."""
    content = path.read_bytes()
    (l1,) = struct.unpack_from(">Q", content, 40)
    l2 = struct.unpack_from(">Q", content, l1)[0] & 0x00FFFFFFFFFFFE00
    data = struct.unpack_from(">Q", content, l2)[0] & 0x00FFFFFFFFFFFE00
    return l1, l2, data


def _pointing(table: str, target: Callable[[int, int, int, int], int]) -> Callable[[Path, Path], None]:
    """Point the first entry of a table to an offset that depends on the tables' offsets and on the file's length."""

    def make(path: Path, _canary: Path) -> None:
        qcow2(path)
        l1, l2, data = _tables(path)
        entry = 1 << 63 | target(l1, l2, data, path.stat().st_size)
        patch(path, (l1 if table == "l1" else l2, struct.pack(">Q", entry)))

    return make


def _repeated(path: Path, _canary: Path) -> None:
    """Use one compressed cluster for the whole disk: some KiB that would expand to 512 MiB."""
    qcow2(path, size=512 * MIB)
    _l1, l2, _data = _tables(path)
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    packed = packer.compress(b"bomb" * (CLUSTER // 4)) + packer.flush()
    place = path.stat().st_size
    path.write_bytes(path.read_bytes() + packed.ljust(1024, b"\0"))
    entry = 1 << 62 | (1 << 54) | place
    patch(path, (l2, struct.pack(">Q", entry) * (CLUSTER // 8)))


def _vmdk(*changes: tuple[int, bytes]) -> Callable[[Path, Path], None]:
    def make(path: Path, _canary: Path) -> None:
        honest(path, "vmdk")
        patch(path, *changes)

    return make


def _descriptor(text: str) -> Callable[[Path, Path], None]:
    def make(path: Path, canary: Path) -> None:
        path.write_text("# Disk DescriptorFile\nversion=1\nCID=fffffffe\n" + text.replace("CANARY", str(canary)))

    return make


def _embedded(old: str, new: str) -> Callable[[Path, Path], None]:
    """Change the descriptor inside a VMDK."""

    def make(path: Path, canary: Path) -> None:
        honest(path, "vmdk")
        content = path.read_bytes()
        offset, length = (512 * value for value in struct.unpack_from("<QQ", content, 28))
        text = content[offset : offset + length].rstrip(b"\0").decode()
        assert old in text
        changed = text.replace(old, new.replace("CANARY", str(canary)), 1).encode()
        patch(path, (offset, changed.ljust(length, b"\0")))

    return make


def _vhd(**fields: int) -> Callable[[Path, Path], None]:
    """Change a dynamic VHD's footer, with a correct checksum: `kind`, `size`, or the table's `entries`."""

    def make(path: Path, _canary: Path) -> None:
        honest(path, "vhd")
        if "entries" in fields:
            patch(path, (512 + 28, struct.pack(">I", fields["entries"])))
            _sum(path, 512, 1024, 36)
        if "size" in fields:
            patch(path, (48, struct.pack(">Q", fields["size"])))
        if "kind" in fields:
            patch(path, (60, struct.pack(">I", fields["kind"])))
        _sum(path, 0, 512, 64)

    return make


def _damaged_vhd(path: Path, _canary: Path) -> None:
    honest(path, "vhd")
    patch(path, (8, b"\xff"))


def _sum(path: Path, offset: int, length: int, at: int) -> None:
    content = bytearray(path.read_bytes()[offset : offset + length])
    content[at : at + 4] = bytes(4)
    patch(path, (offset + at, struct.pack(">I", ~sum(content) & 0xFFFFFFFF)))


def _vhdx_metadata(content: bytes) -> int:
    (count,) = struct.unpack_from("<I", content, 192 * 1024 + 8)
    wanted = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
    for number in range(count):
        place = 192 * 1024 + 16 + 32 * number
        if content[place : place + 16] == wanted:
            return int(struct.unpack_from("<Q", content, place + 16)[0])
    raise AssertionError("no metadata in an honest VHDX")


def _vhdx(item: str, content: bytes) -> Callable[[Path, Path], None]:
    """Change an item of a VHDX's metadata."""

    def make(path: Path, _canary: Path) -> None:
        honest(path, "vhdx")
        whole = path.read_bytes()
        metadata = _vhdx_metadata(whole)
        entry = whole.index(uuid.UUID(item).bytes_le, metadata)
        (offset,) = struct.unpack_from("<I", whole, entry + 16)
        patch(path, (metadata + offset, content))

    return make


def _vhdx_parent(path: Path, _canary: Path) -> None:
    honest(path, "vhdx")
    whole = path.read_bytes()
    metadata = _vhdx_metadata(whole)
    (count,) = struct.unpack_from("<H", whole, metadata + 10)
    locator = uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le
    patch(path, (metadata + 10, struct.pack("<H", count + 1)))
    patch(path, (metadata + 32 + 32 * count, locator + struct.pack("<IIII", 128 * 1024, 64, 4, 0)))


def _cut(image_format: str, length: int) -> Callable[[Path, Path], None]:
    def make(path: Path, _canary: Path) -> None:
        honest(path, image_format, content=b"honest" * 20000)
        with path.open("r+b") as file:
            file.truncate(length)

    return make


def _written(content: bytes) -> Callable[[Path, Path], None]:
    def make(path: Path, _canary: Path) -> None:
        path.write_bytes(content)

    return make


def _raw_as_qcow2(path: Path, canary: Path) -> None:
    """Make what a guest could write into its raw disk, so that format probing would take it for a qcow2."""
    _backed_by(b"CANARY", "raw")(path, canary)
    with path.open("r+b") as file:
        file.truncate(MIB)


def _iso_polyglot(path: Path, canary: Path) -> None:
    """Make a file that is an ISO9660 for one reader and a qcow2 with a backing file for another."""
    _backed_by(b"CANARY", "raw")(path, canary)
    with path.open("r+b") as file:
        file.truncate(2 * MIB)
    patch(path, (0x8000, b"\x01CD001\x01\0"))


def corpus() -> Iterator[Crafted]:
    """Yield all crafted files."""
    yield from _qcow2_names()
    yield from _qcow2_headers()
    yield from _qcow2_tables()
    yield from _others()


def _qcow2_names() -> Iterator[Crafted]:
    names = {
        "absolute": b"CANARY",
        "relative": b"../canary",
        "json": b'json:{"driver":"raw","file":{"driver":"file","filename":"CANARY"}}',
        "nbd": b"nbd:127.0.0.1:10809",
        "nbd-unix": b"nbd+unix:///?socket=CANARY",
        "http": b"http://127.0.0.1:8773/",
        "ssh": b"ssh://127.0.0.1/CANARY",
        "empty": b"",
    }
    for name, text in names.items():
        yield Crafted(f"qcow2-backing-{name}", "qcow2", "backing file", _backed_by(text, "raw"))
    yield Crafted("qcow2-data-file", "qcow2", "another file", _external_data)
    yield Crafted("qcow2-data-file-name-alone", "qcow2", "another file", _data_extension)
    yield Crafted("raw-qcow2-header", "raw", "begins as qcow2", _raw_as_qcow2)
    yield Crafted("iso-qcow2-as-raw", "raw", "begins as qcow2", _iso_polyglot)
    yield Crafted("iso-qcow2-as-qcow2", "qcow2", "backing file", _iso_polyglot)


def _qcow2_headers() -> Iterator[Crafted]:
    def bits(number: int) -> tuple[int, bytes]:
        return 72, struct.pack(">Q", 1 << number)

    yield Crafted("qcow2-unknown-bit", "qcow2", "not known", _changed(bits(7)))
    yield Crafted("qcow2-unknown-last-bit", "qcow2", "not known", _changed(bits(63)))
    yield Crafted("qcow2-dirty", "qcow2", "not closed", _changed(bits(0)))
    yield Crafted("qcow2-corrupt", "qcow2", "corrupt", _changed(bits(1)))
    yield Crafted("qcow2-aes", "qcow2", "encrypted", _changed((32, struct.pack(">I", 1))))
    yield Crafted("qcow2-luks", "qcow2", "encrypted", _changed((32, struct.pack(">I", 2))))
    luks = struct.pack(">IIQQ", 0x0537BE77, 16, CLUSTER, CLUSTER) + bytes(8)
    yield Crafted("qcow2-luks-extension", "qcow2", "encrypted", _changed(*_extended(luks)))
    bitmaps = struct.pack(">IIIIQQ", 0x23852875, 24, 65535, 0, 1 << 40, CLUSTER) + bytes(8)
    yield Crafted("qcow2-bitmaps", "qcow2", "bitmaps", _changed(*_extended(bitmaps)))
    many = struct.pack(">II", 0x12345678, 0) * 64
    yield Crafted("qcow2-many-extensions", "qcow2", "extensions", _changed(*_extended(many)))
    yield Crafted("qcow2-snapshots", "qcow2", "snapshots", _changed((60, struct.pack(">I", 1))))
    yield Crafted("qcow2-1-pib", "qcow2", "claims a disk", _changed((24, struct.pack(">Q", 1 << 50))))
    yield Crafted("qcow2-8-eib", "qcow2", "claims a disk", _changed((24, struct.pack(">Q", (1 << 63) - 512))))
    yield Crafted("qcow2-cluster-bits", "qcow2", "clusters of", _changed((20, struct.pack(">I", 31))))
    yield Crafted("qcow2-version", "qcow2", "version", _changed((4, struct.pack(">I", 4))))
    yield Crafted("qcow2-refcount-bits", "qcow2", "reference counts", _changed((96, struct.pack(">I", 31))))
    yield Crafted("qcow2-header-length", "qcow2", "header of", _changed((100, struct.pack(">I", 1 << 31))))
    yield Crafted("not-qcow2", "qcow2", "not qcow2", _written(b"\xeb\x63\x90" + bytes(MIB - 3)))


def _qcow2_tables() -> Iterator[Crafted]:
    yield Crafted("qcow2-l1-absurd", "qcow2", "L1 table", _changed((36, struct.pack(">I", 0xFFFFFFFF))))
    yield Crafted("qcow2-l1-short", "qcow2", "L1 table", _changed((36, struct.pack(">I", 0))))
    yield Crafted("qcow2-l1-outside", "qcow2", "L1 table", _changed((40, struct.pack(">Q", 1 << 40))))
    yield Crafted("qcow2-l1-at-header", "qcow2", "L1 table", _changed((40, struct.pack(">Q", 0))))
    yield Crafted("qcow2-refcount-absurd", "qcow2", "refcount table", _changed((56, struct.pack(">I", 1 << 30))))
    yield Crafted("qcow2-refcount-outside", "qcow2", "refcount table", _changed((48, struct.pack(">Q", 1 << 40))))
    yield Crafted("qcow2-l1-cyclic", "qcow2", "twice", _pointing("l1", lambda l1, _l2, _data, _end: l1))
    yield Crafted("qcow2-l2-outside", "qcow2", "L2 table", _pointing("l1", lambda _1, _2, _3, _end: 1 << 40))
    yield Crafted("qcow2-l2-cyclic", "qcow2", "own tables", _pointing("l2", lambda _l1, l2, _data, _end: l2))
    yield Crafted("qcow2-data-header", "qcow2", "own tables", _pointing("l2", lambda l1, _l2, _data, _end: l1))
    yield Crafted("qcow2-data-outside", "qcow2", "cut short", _pointing("l2", lambda _1, _2, _3, _end: 1 << 40))
    yield Crafted(
        "qcow2-data-twice", "qcow2", "several places", _pointing("l2", lambda _1, _2, data, _e: data + CLUSTER)
    )
    yield Crafted("qcow2-compressed-bomb", "qcow2", "several places", _repeated)
    yield Crafted("qcow2-cut", "qcow2", "cut short", _cut("qcow2", 5 * CLUSTER))
    yield Crafted("qcow2-cut-in-header", "qcow2", "not qcow2", _cut("qcow2", 50))


def _others() -> Iterator[Crafted]:
    flat = 'parentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "CANARY" 0\n'
    yield Crafted("vmdk-flat", "vmdk", "descriptor of other files", _descriptor(flat))
    two = 'parentCID=ffffffff\ncreateType="twoGbMaxExtentSparse"\nRW 2048 SPARSE "CANARY"\n'
    yield Crafted("vmdk-two-gb", "vmdk", "descriptor of other files", _descriptor(two))
    yield Crafted("vmdk-flat-inside", "vmdk", "of type", _embedded("monolithicSparse", "monolithicFlat"))
    parent = 'parentCID=12345678\nparentFileNameHint="CANARY"'
    yield Crafted("vmdk-parent", "vmdk", "parent", _embedded("parentCID=ffffffff", parent))
    second = 'createType="monolithicSparse"\nRW 2048 FLAT "CANARY" 0'
    yield Crafted("vmdk-extent", "vmdk", "other files", _embedded('createType="monolithicSparse"', second))
    yield Crafted("vmdk-no-capacity", "vmdk", "only describes", _vmdk((12, bytes(8))))
    yield Crafted("vmdk-1-pib", "vmdk", "claims a disk", _vmdk((12, struct.pack("<Q", 1 << 41))))
    yield Crafted("vmdk-grain", "vmdk", "grains", _vmdk((20, struct.pack("<Q", 1 << 40))))
    yield Crafted("vmdk-tables", "vmdk", "not inside", _vmdk((56, struct.pack("<Q", 1 << 40))))
    yield Crafted("vmdk-flags", "vmdk", "not known", _vmdk((8, struct.pack("<I", 1 << 20))))
    yield Crafted("vmdk-stream-cut", "vmdk", "footer", _vmdk((56, b"\xff" * 8)))
    yield Crafted("vhd-differencing", "vhd", "parent", _vhd(kind=4))
    yield Crafted("vhd-type", "vhd", "type", _vhd(kind=6))
    yield Crafted("vhd-1-pib", "vhd", "claims a disk", _vhd(size=1 << 50))
    yield Crafted("vhd-entries", "vhd", "table", _vhd(entries=0xFFFFFFF0))
    yield Crafted("vhd-short-table", "vhd", "table", _vhd(size=1 << 40))
    yield Crafted("vhd-damaged", "vhd", "damaged", _damaged_vhd)
    yield Crafted("not-vhd", "vhd", "not VHD", _written(bytes(MIB)))
    parameters, size = "caa16737-fa36-4d43-b3b6-33f0aa44e76b", "2fa54224-cd1b-4876-b211-5dbed83bf4b8"
    yield Crafted("vhdx-parent-flag", "vhdx", "parent", _vhdx(parameters, struct.pack("<II", MIB, 2)))
    yield Crafted("vhdx-parent-locator", "vhdx", "parent", _vhdx_parent)
    yield Crafted("vhdx-block", "vhdx", "blocks of", _vhdx(parameters, struct.pack("<II", 3 * MIB, 0)))
    yield Crafted("vhdx-1-pib", "vhdx", "claims a disk", _vhdx(size, struct.pack("<Q", 1 << 50)))
    yield Crafted("vhdx-cut", "vhdx", "cut short", _cut("vhdx", 128 * 1024 + 10))
    yield Crafted("raw-odd", "raw", "whole sectors", _written(b"x" * 1000))
    yield Crafted("raw-vmdk-descriptor", "raw", "begins as", _descriptor(flat))
    yield Crafted("unknown-format", "parallels", "no image format", _written(bytes(MIB)))
