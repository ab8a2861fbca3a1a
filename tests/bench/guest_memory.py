"""What memory a guest costs its host besides its own: QEMU's, a TPM's, and the kernel's page tables for them.

    .venv/bin/python -m tests.bench.guest_memory [KIND ...]

Each guest boots the micro image to a shell, reads its disk and fills most of its free memory. Then what its QEMU has is read from
/proc/PID/smaps: what it alone has (anonymous pages) outside of the guest's memory, of that the translated code of an
emulated guest, its share of files' pages (programs and libraries, which all guests share), and its page tables. Guests run
emulated or by KVM as this host can; of KVM's own tables in the kernel nothing is seen here. `placement/guest_memory.py` of the
controller has the figures that are reserved.
"""

import argparse
import re
import sys
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pyroute2 import IPRoute  # noqa: E402 - the checkout comes first

from stead_agent.machines.interface import MachineSpec, Nic, Tpm  # noqa: E402 - the checkout comes first
from stead_agent.machines.life import uuid_of  # noqa: E402 - the checkout comes first
from tests.support import box  # noqa: E402 - the checkout comes first
from tests.support.memory import memory_of  # noqa: E402 - the checkout comes first
from tests.support.serial_bench import SerialBench, serial_bench  # noqa: E402 - the checkout comes first
from tests.support.serial_shell import SerialShell  # noqa: E402 - the checkout comes first

BRIDGE: Final = "bench0"
_KEYS: Final = Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
_MAPPING: Final = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ *(.*)$")
_MIB: Final = 1 << 20
BOOT_SECONDS: Final = 600.0
READ_MIB = 64  # of its disk
FILLED = 0.75  # of its free memory: of all of it and the kernel would end processes, the shell among them


@dataclass(frozen=True)
class Kind:
    """A kind of guest; by BIOS if nothing else is said."""

    mib: int = 256
    vcpus: int = 1
    disks: int = 1
    nics: int = 1
    uefi: bool = False
    tpm: bool = False


KINDS = {
    "bios": Kind(),
    "96mib": Kind(mib=96),
    "2gib": Kind(mib=2048),
    "2vcpus": Kind(vcpus=2),
    "8vcpus": Kind(vcpus=8),
    "9disks": Kind(disks=9),
    "9interfaces": Kind(nics=9),
    "uefi": Kind(uefi=True),
    "tpm": Kind(uefi=True, tpm=True),
}


@dataclass(frozen=True)
class Cost:
    """What a process has, in MiB."""

    guest: float  # of the guest's memory, what it has touched
    own: float
    code: float  # of `own`: translated code
    files: float
    tables: float


def cost_of(pid: int, memory: int) -> Cost:
    """Read what the QEMU of a guest with so many bytes of memory has."""
    mappings = list(_mappings(pid))
    sizes = [index for index, one in enumerate(mappings) if one["Size"] == memory / _MIB and not one["path"]]
    assert sizes, f"no mapping of {memory} bytes"
    guest = mappings.pop(max(sizes, key=lambda index: mappings[index]["Rss"]))
    own = sum(one["Anonymous"] for one in mappings)
    code = sum(one["Anonymous"] for one in mappings if "x" in one["access"] and not one["path"])
    shared = sum(one["Pss"] for one in mappings)
    words = Path(f"/proc/{pid}/status").read_text().split()
    tables = int(words[words.index("VmPTE:") + 1]) / 1024
    return Cost(guest["Rss"], own, code, max(0.0, shared - own), tables)


def _mappings(pid: int) -> Iterator[dict[str, Any]]:
    """Yield a process's mappings: path, access, and the sizes in MiB by the kernel's names."""
    found: dict[str, Any] = {}
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if begins := _MAPPING.match(line):
            if found:
                yield found
            found = {"access": begins[3], "path": begins[4]}
        elif size := re.match(r"^(\w+): +(\d+) kB", line):
            found[size[1]] = int(size[2]) / 1024
    yield found


def _spec(bench: SerialBench, kind: Kind, number: int) -> MachineSpec:
    disks = [bench.disk(256 * _MIB, bench.image), *(bench.disk(256 * _MIB) for _ in range(kind.disks - 1))]
    nics = [
        Nic(
            f"eni-{number:08x}{index:09x}",
            f"0a:00:00:00:{number:02x}:{index:02x}",
            BRIDGE,
            f"sb-{number}-{index}",
            1450,
        )
        for index in range(kind.nics)
    ]
    spec = replace(bench.spec(*disks), memory=kind.mib * _MIB, vcpus=kind.vcpus, nics=tuple(nics))
    if kind.uefi:
        spec = replace(spec, boot_mode="uefi", uefi_variables=zlib.compress(_KEYS.read_bytes()))
    return replace(spec, tpm=Tpm(str(uuid.uuid4()), b"k" * 32)) if kind.tpm else spec


def _work(shell: SerialShell) -> None:
    """Let a guest use what it has."""
    shell.run(f"dd if=/dev/vda of=/dev/null bs=1M count={READ_MIB} iflag=direct", 300)
    free = int(shell.run("sed -n 's/^MemAvailable: *//p' /proc/meminfo", 300).split()[0]) // 1024
    shell.run("mkdir -p /filled && mount -t tmpfs -o size=90% filled /filled", 300)
    wrote = shell.run(f"dd if=/dev/zero of=/filled/by bs=1M count={int(free * FILLED)} && echo filled", 1200)
    assert wrote.endswith("filled"), wrote


def _tpm_of(spec: MachineSpec) -> float:
    """What the process of a machine's TPM has, in MiB."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes()
        except OSError:
            continue  # it has ended
        if words.startswith(b"/usr/bin/swtpm\0") and str(uuid_of(spec.id)).encode() in words:
            return memory_of(int(process.parent.name))["Anonymous"]
    raise AssertionError("the TPM does not run")


def measure(bench: SerialBench, kind: Kind, number: int) -> str:
    """Boot a guest, and return what it costs as a line of a table."""
    spec = _spec(bench, kind, number)
    bench.machines.start(spec, 1)
    shell = SerialShell(bench.machines, spec.id, seconds=BOOT_SECONDS)
    _work(shell)
    shell.close()
    pid = int((bench.root / "run" / "qemu" / f"{spec.id}.pid").read_text())
    cost = cost_of(pid, spec.memory)
    tpm = _tpm_of(spec) if kind.tpm else 0.0
    bench.machines.remove(spec.id)
    figures = (cost.guest, cost.own, cost.code, cost.files, cost.tables, tpm)
    return "".join(f"{figure:14.1f}" for figure in figures)


def main() -> int:
    """Print a line for each kind of guest."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("kinds", nargs="*", help=f"of {', '.join(KINDS)}; all, if none is named")
    chosen = options.parse_args().kinds or list(KINDS)
    box.enter()
    with IPRoute() as ip, serial_bench() as bench:
        ip.link("add", ifname=BRIDGE, kind="bridge")
        ip.link("set", index=ip.link_lookup(ifname=BRIDGE)[0], state="up")
        heads = ("guest memory", "own", "of it code", "files", "page tables", "TPM")
        print(f"{'MiB':16}" + "".join(f"{head:>14}" for head in heads), flush=True)
        for number, name in enumerate(chosen):
            print(f"{name:16}{measure(bench, KINDS[name], number)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
