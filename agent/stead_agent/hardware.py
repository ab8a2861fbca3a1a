"""The host's processors and memory nodes, as the kernel has them in /sys and /proc."""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MOST_FEATURES: Final = 512
_MOST_NODES: Final = 256
_MOST_THREADS: Final = 1 << 16
_THREADS: Final = re.compile(r"(?P<first>[0-9]{1,5})(-(?P<last>[0-9]{1,5}))?\Z")
HUGE_PAGE: Final = 2 << 20


@dataclass(frozen=True, slots=True)
class NumaNode:
    """A memory node: its number, the hardware threads next to it as the kernel lists them (`0-3,8`), its bytes.

    `huge_pages` is how many pages of 2 MiB it has, free or not.
    """

    number: int
    threads: str
    memory: int
    huge_pages: int = 0


@dataclass(frozen=True, slots=True)
class Core:
    """A core: its hardware threads, in order, and its memory node."""

    threads: tuple[int, ...]
    node: int

    @property
    def number(self) -> int:
        """Its lowest thread, by which it is known."""
        return self.threads[0]


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


def parse_threads(text: str) -> tuple[int, ...]:
    """Parse threads as the kernel lists them, such as `0-3,8`; raises ValueError."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        if not (match := _THREADS.match(part)):
            raise ValueError(f"{text!r} is no list of hardware threads such as 2-7,10")
        first = int(match["first"])
        last = int(match["last"] or first)
        if not first <= last < _MOST_THREADS:
            raise ValueError(f"{text!r} is no list of hardware threads: {part} is no range of them")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def online(root: Path = Path("/")) -> set[int]:
    """Return the hardware threads that the kernel runs."""
    return set(parse_threads((root / "sys/devices/system/cpu/online").read_text()))


def cores(threads: Collection[int], root: Path = Path("/")) -> tuple[Core, ...]:
    """Return the whole cores to which these threads belong; without those whose node the kernel does not tell."""
    system = root / "sys/devices/system"
    nodes = {thread: node.number for node in _nodes(system / "node") for thread in parse_threads(node.threads)}
    siblings = {_siblings(system / f"cpu/cpu{thread}/topology") for thread in threads}
    return tuple(Core(found, nodes[found[0]]) for found in sorted(siblings) if found and found[0] in nodes)


def free_huge_pages(node: int, root: Path = Path("/")) -> int:
    """Return how many huge pages of 2 MiB of a memory node nobody has."""
    return _huge_pages(root / f"sys/devices/system/node/node{node}", "free_hugepages")


def _siblings(topology: Path) -> tuple[int, ...]:
    """Return all threads of a thread's core; nothing where the kernel does not tell."""
    try:
        return parse_threads((topology / "thread_siblings_list").read_text())
    except FileNotFoundError:
        return ()


def _huge_pages(node: Path, name: str) -> int:
    """Read a count of a memory node's huge pages; 0 where the kernel has none."""
    try:
        return int((node / f"hugepages/hugepages-{HUGE_PAGE >> 10}kB" / name).read_text())
    except FileNotFoundError:
        return 0


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
        threads = (path / "cpulist").read_text().strip()
        found.append(NumaNode(number, threads, _memory(path / "meminfo"), _huge_pages(path, "nr_hugepages")))
    return tuple(sorted(found, key=lambda node: node.number)[:_MOST_NODES])


def _memory(meminfo: Path) -> int:
    """Return the bytes of a node, from a line such as `Node 0 MemTotal: 32768 kB`."""
    for line in meminfo.read_text().splitlines():
        if "MemTotal:" in line:
            return int(line.partition("MemTotal:")[2].split()[0]) * 1024
    return 0
