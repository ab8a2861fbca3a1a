"""Command line options that tell QEMU programs where a disk's bytes are; keys are passed by inherited descriptors."""

import contextlib
from collections.abc import Iterator
from typing import Final

from stead_agent.disks.disk_keys import handed_over
from stead_agent.disks.disk_sources import BlockSource, FileSource, NbdSource, RbdSource, Source

_ACCESS: Final = "access"
_ADDRESS_SPACE: Final = 1 << 30
# librbd starts some thirty threads, each with a stack and a malloc arena that are reserved and hardly used.
_ADDRESS_SPACE_OF_CEPH: Final = 8 << 30


def bytes_options(source: Source, prefix: str) -> str:
    """Render where the bytes are, as options below a prefix such as `file`; a key is referred to as in `access_to`."""
    match source:
        case FileSource(path):
            return f"{prefix}.driver=file,{prefix}.filename={_quoted(path)}"
        case BlockSource(path):
            return f"{prefix}.driver=host_device,{prefix}.filename={_quoted(path)}"
        case NbdSource(path, export):
            named = f",{prefix}.export={export}" if export else ""
            return f"{prefix}.driver=nbd,{prefix}.server.type=unix,{prefix}.server.path={_quoted(path)}{named}"
        case RbdSource(pool, image, conf, user):
            place = f"{prefix}.driver=rbd,{prefix}.pool={_quoted(pool)},{prefix}.image={_quoted(image)}"
            return f"{place},{prefix}.conf={_quoted(conf)},{prefix}.user={_quoted(user)},{prefix}.key-secret={_ACCESS}"


@contextlib.contextmanager
def access_to(source: Source) -> Iterator[tuple[list[str], list[int]]]:
    """Yield the options that a program needs to open a source, and the file descriptors that it must inherit."""
    if not isinstance(source, RbdSource):
        yield [], []
        return
    with handed_over(source.key.encode("ascii")) as handle:
        yield ["--object", f"secret,id={_ACCESS},format=base64,file=/proc/self/fd/{handle}"], [handle]


def address_space(source: Source, times: int = 1) -> int:
    """Return the address space limit, in bytes, of a program that opens a source; `times` that of a small program."""
    return _ADDRESS_SPACE_OF_CEPH if isinstance(source, RbdSource) else _ADDRESS_SPACE * times


def _quoted(value: object) -> str:
    """Write an option's value, in which a comma is doubled."""
    return str(value).replace(",", ",,")
