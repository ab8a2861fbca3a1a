"""What an image was said to be and what its first bytes say become a refusal, or none. Pure.

An image that comes from a user must not make QEMU or qemu-img open other files of the host, as has happened to most
clouds once: nothing may be below it or beside it, and it may have no feature that we do not know.
"""

from stead_agent.volumes.interface import ImageBase
from stead_agent.volumes.qcow2 import Qcow2Error, parse_header

_SECTOR = 512


def why_refused(image: ImageBase, start: bytes) -> str | None:
    """Say why the image may not be used, or None when it may; `start` is its first HEADER_BYTES."""
    if image.format == "raw":
        # Its content is the guest's business: the format is always given to QEMU, so nothing in it is believed.
        rounded = -(-image.file_size // _SECTOR) * _SECTOR
        return None if rounded == image.virtual_size else f"a raw file of {image.file_size} bytes is no other size"
    try:
        header = parse_header(start)
    except Qcow2Error as error:
        return str(error)
    faults = {
        f"it holds {header.size} bytes, not {image.virtual_size}": header.size != image.virtual_size,
        "it needs another file below it": bool(header.backing_file),
        "its data are in another file": header.external_data,
        "it is encrypted": header.encrypted,
        "it is marked as damaged": header.corrupt,
        f"it has unknown features ({header.unknown_features:#x})": header.unknown_features != 0,
    }
    return next((fault for fault, found in faults.items() if found), None)
