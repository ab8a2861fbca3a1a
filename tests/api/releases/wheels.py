"""Programs of an earlier release: its wheel, as it was made, unpacked where a process finds it first.

To keep a release's: `python -m tests.api.releases.wheels keep WHEEL FOLDER`. A wheel is an archive of files that are packed
one by one (PEP 427); here they are packed together, which takes half the room.
"""

import io
import lzma
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.support.processes import clean_environment

FILE: Final = "stead.whl.xz"
_TIME: Final = (2020, 1, 1, 0, 0, 0)


def newest(releases: Path) -> Path:
    """The kept wheel of the release before this one."""
    return max(releases.glob(f"*/{FILE}"))


def unpack(kept: Path, folder: Path) -> Mapping[str, str]:
    """Unpack a kept wheel; return the environment in which this machine's Python runs its programs."""
    with zipfile.ZipFile(io.BytesIO(lzma.decompress(kept.read_bytes()))) as wheel:
        wheel.extractall(folder)
    return clean_environment(PYTHONPATH=str(folder))


def keep(wheel: Path, folder: Path) -> None:
    """Write a wheel as it is kept."""
    plain = io.BytesIO()
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as target:
        for entry in sorted(source.infolist(), key=lambda each: each.filename):
            copy = zipfile.ZipInfo(entry.filename, _TIME)
            copy.external_attr = entry.external_attr
            target.writestr(copy, source.read(entry))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(lzma.compress(plain.getvalue(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    if sys.argv[1:2] != ["keep"] or len(sys.argv) != 4:
        raise SystemExit(__doc__)
    keep(Path(sys.argv[2]), Path(sys.argv[3]))
