"""UefiData: the UEFI variables with which instances of an image begin, such as the keys of secure boot.

It is base64 of a zlib stream, as EC2 says, and what is compressed is a variable store of EDK II as OVMF has it. EC2's
own is in a format (AMZNUEFI) that needs a dictionary of AWS to be read, so it must be converted first.
"""

import base64
import binascii
import struct
import zlib
from typing import Final

from stead_controller.errors import InvalidParameter, Unsupported

STORE_BYTES: Final = 528 << 10
"""The size of a variable store of OVMF with 4 MiB of flash."""

_LONGEST: Final = 64_000  # characters, as in EC2
_OF_AWS: Final = b"AMZNUEFI"
# MdePkg/Include/Pi/PiFirmwareVolume.h: 16 zeros, the file system's GUID, the length, a signature, attributes, the
# header's length and its checksum: of its 16-bit words the sum is 0.
_HEADER: Final = struct.Struct("<16s16sQ4sIHH")
_FILE_SYSTEM: Final = bytes.fromhex("8d2bf1ff96768b4ca9852747075b4f50")  # gEfiSystemNvDataFvGuid
_AUTHENTICATED: Final = bytes.fromhex("782cf3aa7b949a43a1802e144ec37792")  # gEfiAuthenticatedVariableGuid
_HEADER_BYTES: Final = 0x48


def parse(text: str) -> bytes:
    """Return the zlib stream of a variable store; raises InvalidParameter, and Unsupported for AWS's own format."""
    try:
        data = base64.b64decode(text if len(text) <= _LONGEST else "?", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidParameter("The UEFI data is not base64, or has more than 64000 characters.") from None
    if data.startswith(_OF_AWS):
        raise Unsupported(
            "The UEFI data is in AWS's own format: convert it by `uefivars -i aws -o edk2`, and compress that by zlib."
        )
    reader = zlib.decompressobj()
    try:
        store = reader.decompress(data, STORE_BYTES + 1)
    except zlib.error:
        raise InvalidParameter("The UEFI data is not a zlib stream.") from None
    if not reader.eof or not _is_store(store):
        raise InvalidParameter(f"The UEFI data is not a variable store of OVMF with {STORE_BYTES} bytes.")
    return data


def shown(data: bytes) -> str:
    """Return variables as EC2's clients send and get them."""
    return base64.b64encode(data).decode("ascii")


def _is_store(store: bytes) -> bool:
    if len(store) != STORE_BYTES:
        return False
    _zeros, file_system, length, signature, _attributes, header, _checksum = _HEADER.unpack_from(store)
    sum_of_words = sum(struct.unpack_from(f"<{_HEADER_BYTES // 2}H", store)) & 0xFFFF
    return (
        (file_system, length, signature, header) == (_FILE_SYSTEM, STORE_BYTES, b"_FVH", _HEADER_BYTES)
        and sum_of_words == 0
        and store[_HEADER_BYTES : _HEADER_BYTES + 16] == _AUTHENTICATED
    )
