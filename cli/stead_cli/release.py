"""Which release of Stead is installed: one word that identifies its code and libraries."""

import functools
import hashlib
import sys
from pathlib import Path
from typing import Final

from stead_cli.settings import CHECKOUT

VARIABLE: Final = "STEAD_RELEASE"
"""The environment variable by which a program that runs can be asked of which release it is."""

_PACKAGES: Final = ("agent/stead_agent", "controller/stead_controller", "proto/stead_proto")
_STAMP: Final = Path(sys.prefix) / "stead-stamp"  # written by the launcher: which libraries are installed


@functools.cache
def current() -> str:
    """Return a word that identifies the code and the libraries with which programs would be started now."""
    digest = hashlib.sha256()
    files = (path for package in _PACKAGES for path in (CHECKOUT / package).rglob("*.py"))
    for path in (*sorted(files), *([_STAMP] if _STAMP.exists() else [])):
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]
