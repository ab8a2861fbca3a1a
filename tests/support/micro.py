"""The micro guest image for tests, built once per machine and recipe."""

import os
from pathlib import Path

from stead_cli import image_build
from stead_cli.settings import Settings


def build() -> Path:
    """Build it unless it is there; needs the network only when Debian packages are missing in the cache."""
    folder = Path(os.environ.get("STEAD_CACHE_DIR") or "/var/cache/stead") / "tests"
    return image_build.build(Settings(folder), "micro", lambda _line: None).path
