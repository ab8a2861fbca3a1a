"""An image whose guests halt at once: for those of which only that they run counts, since to boot takes five seconds of a processor."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stead_cli.operator import Operator
from stead_proto.v1 import operator_pb2 as pb

_SIZE: Final = 1 << 20
_HALTS: Final = b"\xfa\xf4\xeb\xfd"  # cli; hlt; jmp to hlt, for ever: what the firmware loads and runs
_BOOTABLE: Final = b"\x55\xaa"


def add(operator: Operator, folder: Path) -> str:
    """Import the image, under a name of its own, and return its id. Its guests hear no power button: terminate them with SkipOsShutdown."""
    path = folder / "halts.raw"
    path.write_bytes(_HALTS.ljust(510, b"\0") + _BOOTABLE + bytes(_SIZE - 512))
    name = f"halts-{secrets.token_hex(4)}"
    header = pb.ImportImageHeader(name=name, format="raw", file_size=_SIZE, architecture="x86_64", public=True)
    return operator.import_image(header, path, lambda _count: None).image_id


def instead_of_further_boots(run: Callable[[str], str]) -> None:
    """Have a micro guest halt at once whenever it starts again, by a command that is run in it. It hears no power button then."""
    octal = "".join(f"\\{byte:03o}" for byte in _HALTS)
    run(f"printf '{octal}' | sudo dd of=/dev/vda conv=notrunc,fsync 2>/dev/null")
