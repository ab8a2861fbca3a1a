"""The host's processors and memory nodes, as the kernel has them in /sys and /proc."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MOST_FEATURES: Final = 512
_MOST_NODES: Final = 256


@dataclass(frozen=True, slots=True)
class NumaNode:
    """A memory node: its number, the hardware threads next to it as the kernel lists them (`0-3,8`), its bytes."""

    number: int
    threads: str
    memory: int


@dataclass(frozen=True, slots=True)
class Hardware:
    """Cores, the processors' model and features, and the memory nodes; what the kernel does not tell is empty or 0."""

    cores: int = 0
    model: str = ""
    features: tuple[str, ...] = ()
    nodes: tuple[NumaNode, ...] = ()


def read(threads: Collection[int] | None = None, root: Path = Path("/")) -> Hardware:
    """Read what the kernel says of these hardware threads, by default those that this process may use."""
    usable = os.sched_getaffinity(0) if threads is None else threads
    model, features = _model((root / "proc/cpuinfo").read_text())
    system = root / "sys/devices/system"
    cores = {_core(system / f"cpu/cpu{thread}/topology") for thread in usable}
    return Hardware(len(cores - {None}), model, features, _nodes(system / "node"))


def _model(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the model and features of the first processor of /proc/cpuinfo."""
    first = text.partition("\n\n")[0]
    values = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    features = sorted(set(values.get("flags", values.get("Features", "")).split()))
    return values.get("model name", ""), tuple(features[:_MOST_FEATURES])


def _core(topology: Path) -> tuple[int, int] | None:
    """Return the package and the core of a hardware thread, None where the kernel does not tell."""
    try:
        package, core = ((topology / name).read_text() for name in ("physical_package_id", "core_id"))
    except FileNotFoundError:
        return None
    return int(package), int(core)


def _nodes(folder: Path) -> tuple[NumaNode, ...]:
    found = []
    for path in folder.glob("node[0-9]*"):
        number = int(path.name.removeprefix("node"))
        found.append(NumaNode(number, (path / "cpulist").read_text().strip(), _memory(path / "meminfo")))
    return tuple(sorted(found, key=lambda node: node.number)[:_MOST_NODES])


def _memory(meminfo: Path) -> int:
    """Return the bytes of a node, from a line such as `Node 0 MemTotal: 32768 kB`."""
    for line in meminfo.read_text().splitlines():
        if "MemTotal:" in line:
            return int(line.partition("MemTotal:")[2].split()[0]) * 1024
    return 0
