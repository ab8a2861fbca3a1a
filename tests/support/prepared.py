"""What a cloud on this machine would find out once more: the micro image of this checkout, and whether KVM works here."""

import fcntl
import shutil
from pathlib import Path
from typing import Final

from stead_agent import kvm_proof
from tests.support import micro

_RECORD: Final = "kvm-proof.json"


def prepare(image_dir: Path, *agent_dirs: Path) -> None:
    """Copy the image and the proof of this boot to where a cloud has them; it checks both before it believes them."""
    image = micro.build()
    _copy(image.with_suffix(".recipe"), image_dir)
    _copy(image, image_dir)
    record = _proof(image)
    for folder in agent_dirs:
        if record.exists():  # there is none where there is no KVM to try
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            _copy(record, folder)


def _proof(image: Path) -> Path:
    """Let the agent's own code prove KVM, once per boot of this machine, and return its record."""
    folder = image.parent
    with (folder.parent / "kvm-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kvm_proof.prove(image, folder)
    return folder / _RECORD


def _copy(file: Path, folder: Path) -> None:
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not (folder / file.name).exists():
        shutil.copyfile(file, folder / file.name)
