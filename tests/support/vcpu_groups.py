"""The control groups of a guest with one vCPU, as the kernel shows them."""

from pathlib import Path


class VcpuGroups:
    """The control groups of the only vCPU of a QEMU process, and of the guest."""

    def __init__(self, pid: int) -> None:
        thread = next(
            each.name for each in Path(f"/proc/{pid}/task").iterdir() if (each / "comm").read_text().startswith("CPU 0")
        )
        lines = Path(f"/proc/{pid}/task/{thread}/cgroup").read_text().splitlines()
        paths = {name: path for _, names, path in (line.split(":", 2) for line in lines) for name in names.split(",")}
        root = Path("/sys/fs/cgroup")
        self._first = "cpu" in paths  # version 1 has a hierarchy for each controller, beside that of version 2
        self._account = root / ("unified" if self._first else "") / paths[""][1:]
        self._cpu = root / "cpu" / paths["cpu"][1:] if self._first else self._account

    def used(self) -> int:
        """The CPU time of the vCPU, in nanoseconds."""
        words = (self._account / "cpu.stat").read_text().split()
        return int(words[words.index("usage_usec") + 1]) * 1000

    def is_limited(self) -> bool:
        """Whether the vCPU has a quota."""
        found = (self._cpu / ("cpu.cfs_quota_us" if self._first else "cpu.max")).read_text().split()[0]
        return found not in {"-1", "max"}

    def weight(self) -> int:
        """The guest's weight."""
        guest = self._cpu.parent if self._first else self._cpu.parent.parent
        return int((guest / ("cpu.shares" if self._first else "cpu.weight")).read_text())
