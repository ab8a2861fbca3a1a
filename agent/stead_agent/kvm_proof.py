"""Whether KVM works here, proven by booting a guest: `/dev/kvm` can exist and still be unable to run a stock kernel.

A machine that is itself a guest may offer KVM and fail with "KVM internal error" at the first real kernel. A few bytes
of boot sector would prove nothing. Unproven means emulation, with the reason reported; the result is stored until the
host reboots or QEMU changes.
"""

import json
import logging
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from stead_agent.programs.run import Heard, RunError, listen, run

_log = logging.getLogger(__name__)

KVM_DEVICE: Final = Path("/dev/kvm")
QEMU: Final = "qemu-system-x86_64"
_MICRO_SPEAKS: Final = b"stead-micro: the kernel runs"  # printed by images/micro/initrd/init
_KERNEL_ENDS: Final = b"Unable to mount root fs"  # printed by a kernel without a disk, when all else is done
_KVM_FAILS: Final = b"KVM internal error"
_DEADLINE: Final = 15.0
_MEMORY_MIB: Final = 256
_MOST_OUTPUT: Final = 1 << 18
_MAX_CHARACTERS: Final = 300
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_MACHINE_BOOT_ID: Final = Path("/run/machine-boot-id")  # of the machine that a rig's host is a part of
_MACHINE: Final = ("-machine", "q35,accel=kvm", "-cpu", "host")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kvm`, or `qemu` (emulation) and why it is not `kvm`."""

    virtualization: Literal["kvm", "qemu"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Guest:
    """What can be booted as a proof: QEMU's options for it, and what it prints when it succeeded."""

    options: tuple[str, ...]
    mark: bytes


def prove(image: Path | None, state_dir: Path) -> Verdict:
    """Find out whether guests can run with KVM; `image` is a micro guest image to boot, else the host's kernel.

    Takes at most about 15 s, the first time after a boot; later calls read the result in the state directory.
    """
    if not KVM_DEVICE.exists():
        return Verdict("qemu", f"{KVM_DEVICE} does not exist")
    if not os.access(KVM_DEVICE, os.R_OK | os.W_OK):
        return Verdict("qemu", f"{KVM_DEVICE} cannot be opened")
    guest = _micro(image) or _own_kernel()
    if guest is None:
        return Verdict("qemu", "KVM is unproven: there is no micro image to boot (stead image build micro)")
    boot_id = _MACHINE_BOOT_ID if _MACHINE_BOOT_ID.exists() else _BOOT_ID
    circumstances = f"{boot_id.read_text().strip()} {platform.release()} {_qemu_version()}"
    record = state_dir / "kvm-proof.json"
    known = _read(record, circumstances)
    if known is not None:
        return known
    verdict = _boot(guest)
    _log.info("kvm_proof", extra={"virtualization": verdict.virtualization, "reason": verdict.reason})
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    record.write_text(json.dumps({"circumstances": circumstances, **asdict(verdict)}))
    return verdict


def judge(heard: Heard, mark: bytes) -> Verdict:
    """Return what the output of a guest on its serial port, and that of QEMU, proves. Pure."""
    if _KVM_FAILS in heard.output:
        return Verdict("qemu", _words(heard.output[heard.output.find(_KVM_FAILS) :]))
    if mark in heard.output:
        return Verdict("kvm")
    if heard.status is not None:
        return Verdict("qemu", f"QEMU ended with status {heard.status}: {_words(heard.output)}".rstrip(": "))
    if len(heard.output) > _MOST_OUTPUT:
        return Verdict("qemu", "the guest says too much")
    return Verdict("qemu", f"the guest did not get through its boot within {_DEADLINE:g} s")


def _micro(image: Path | None) -> _Guest | None:
    """Boot a temporary overlay of the image."""
    if image is None or not image.exists():
        return None
    name = str(image).replace(",", ",,")
    drive = f"file.driver=file,file.filename={name},format=qcow2,if=virtio,snapshot=on"
    return _Guest(("-drive", drive), _MICRO_SPEAKS)


def _own_kernel() -> _Guest | None:
    """Boot only the kernel that this host runs: it ends when it finds no disk."""
    kernel = Path("/boot") / f"vmlinuz-{platform.release()}"
    if not kernel.exists():
        return None
    return _Guest(("-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"), _KERNEL_ENDS)


def _boot(guest: _Guest) -> Verdict:
    """Boot a guest with KVM until it succeeds, QEMU ends or the deadline is reached."""
    options = ("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio")
    command = [QEMU, *options, *_MACHINE, "-m", str(_MEMORY_MIB), *guest.options]
    try:
        heard = listen(
            command,
            enough=lambda said: guest.mark in said or _KVM_FAILS in said,
            timeout=_DEADLINE,
            max_output=_MOST_OUTPUT,
        )
    except RunError as error:
        return Verdict("qemu", str(error))
    return judge(heard, guest.mark)


def _read(record: Path, circumstances: str) -> Verdict | None:
    """Read a stored verdict, if it was reached in the same circumstances."""
    try:
        content = json.loads(record.read_text())
    except (FileNotFoundError, ValueError):
        return None
    if content.get("circumstances") != circumstances:
        return None
    return Verdict(content["virtualization"], content["reason"])


def _qemu_version() -> str:
    """Return QEMU's version as QEMU reports it."""
    try:
        return run([QEMU, "--version"], timeout=10).stdout.splitlines()[0].decode(errors="replace")
    except (RunError, IndexError) as error:
        return f"unknown ({error})"


def _words(said: bytes) -> str:
    """Shorten to the first two lines."""
    lines = [line.strip() for line in said.decode(errors="replace").split("\n")]
    return " ".join([line for line in lines if line][:2])[:_MAX_CHARACTERS]
