"""What a cloud on this machine would find out once more: the micro image of this checkout, and whether KVM works here."""

import fcntl
import json
import shutil
from pathlib import Path
from typing import Final

from stead_agent import kvm_proof
from tests.support import micro

_RECORD: Final = "kvm-proof.json"


def prepare(image_dir: Path, *agent_dirs: Path, boot_id: str = "") -> None:
    """Copy the image and the proof of this boot to where a cloud has them; it checks both before it believes them.

    With `boot_id` the proof is one of that boot: a container boots as often as it likes, its machine does not.
    """
    image = micro.build()
    _copy(image.with_suffix(".recipe"), image_dir)
    _copy(image, image_dir)
    record = _proof(image)
    if not record.exists():  # where there is no KVM to try
        return
    for folder in agent_dirs:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        _copy(record, folder)
        if boot_id:
            say_again(folder, boot_id)


def say_again(agent_dir: Path, boot_id: str) -> None:
    """Let the proof of a cloud be one of another boot."""
    record = agent_dir / _RECORD
    if record.exists():
        proof = json.loads(record.read_text())
        proof["circumstances"] = " ".join((boot_id, *proof["circumstances"].split(" ")[1:]))
        record.write_text(json.dumps(proof))


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
