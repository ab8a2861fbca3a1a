"""Whether KVM works here, proven by booting a guest: `/dev/kvm` can exist and still be unable to run a stock kernel.

A machine that is itself a guest may offer KVM and die with "KVM internal error" at the first real kernel. Unproven
means emulation, with the reason told; the result is kept until the host, its kernel or QEMU change.
"""

import json
import logging
import os
import platform
import select
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from stead_agent.run import RunError, run

_log = logging.getLogger(__name__)

KVM_DEVICE: Final = Path("/dev/kvm")
QEMU: Final = "qemu-system-x86_64"
_MARK: Final = b"stead-micro: the kernel runs"  # said by images/micro/initrd/init
_DEADLINE: Final = 15.0
_MEMORY_MIB: Final = 128
_MOST_OUTPUT: Final = 1 << 16
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kvm`, or `qemu` (emulation) and why it is not `kvm`."""

    virtualization: Literal["kvm", "qemu"]
    reason: str = ""


def prove(image: Path | None, state_dir: Path) -> Verdict:
    """Find out whether guests can run with KVM; `image` is a micro guest image to boot.

    Takes at most about 15 s, the first time after a boot; later calls read what is in the state directory.
    """
    if not KVM_DEVICE.exists():
        return Verdict("qemu", f"{KVM_DEVICE} does not exist")
    if not os.access(KVM_DEVICE, os.R_OK | os.W_OK):
        return Verdict("qemu", f"{KVM_DEVICE} cannot be opened")
    if image is None or not image.exists():
        return Verdict("qemu", "KVM is unproven: there is no micro image to boot (stead image build micro)")
    circumstances = f"{_BOOT_ID.read_text().strip()} {platform.release()} {_qemu_version()}"
    kept = state_dir / "kvm-proof.json"
    known = _read(kept, circumstances)
    if known is not None:
        return known
    verdict = _boot(image)
    _log.info("kvm_proof", extra={"virtualization": verdict.virtualization, "reason": verdict.reason})
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept.write_text(json.dumps({"circumstances": circumstances, **asdict(verdict)}))
    return verdict


def _read(kept: Path, circumstances: str) -> Verdict | None:
    try:
        content = json.loads(kept.read_text())
    except (FileNotFoundError, ValueError):
        return None
    if content.get("circumstances") != circumstances:
        return None
    return Verdict(content["virtualization"], content["reason"])


def _qemu_version() -> str:
    try:
        return run([QEMU, "--version"], timeout=10).stdout.splitlines()[0].decode(errors="replace")
    except (RunError, IndexError) as error:
        return f"unknown ({error})"


def _boot(image: Path) -> Verdict:
    """Boot a copy-on-write view of the image with KVM until its kernel speaks, QEMU ends or the deadline comes."""
    command = [
        QEMU,
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"),
        *("-machine", "q35,accel=kvm", "-cpu", "host", "-m", str(_MEMORY_MIB)),
        *("-drive", f"file.driver=file,file.filename={image},format=qcow2,if=virtio,snapshot=on"),
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        return _listen(process)
    finally:
        process.kill()
        process.wait()


def _listen(process: subprocess.Popen[bytes]) -> Verdict:
    if process.stdout is None:
        raise AssertionError("the pipe was asked for")
    heard = b""
    end = time.monotonic() + _DEADLINE
    while len(heard) < _MOST_OUTPUT:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))
        chunk = os.read(process.stdout.fileno(), 4096) if ready else b""
        heard += chunk
        if _MARK in heard:
            return Verdict("kvm")
        if b"KVM internal error" in heard:
            return Verdict("qemu", _last_words(heard, b"KVM internal error"))
        if not chunk:
            what = "QEMU ended" if ready else f"the guest's kernel did not speak within {_DEADLINE:g} s"
            return Verdict("qemu", f"{what}: {_last_words(heard, b'')}" if heard.strip() else what)
    return Verdict("qemu", "the guest says too much")


def _last_words(heard: bytes, start: bytes) -> str:
    lines = heard[heard.find(start) :].decode(errors="replace").split("\n")
    return " ".join(line.strip() for line in lines[:2] if line.strip())[:300]
