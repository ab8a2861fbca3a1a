"""The micro guest image for tests, built once per machine and recipe."""

import fcntl
import os
from pathlib import Path

from stead_cli import image_build
from stead_cli.settings import Settings


def build(architecture: str = "x86_64") -> Path:
    """Build the image unless it exists; needs the network only when Debian packages are missing in the cache.

    If two processes call it at once, the second uses the image of the first.
    """
    folder = Path(os.environ.get("STEAD_CACHE_DIR") or "/var/cache/stead") / "tests"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return image_build.build(Settings(folder), "micro", lambda _line: None, architecture=architecture).path
