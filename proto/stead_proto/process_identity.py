"""What identifies a process uniquely, for files that name a process: a process id alone is reused."""

from pathlib import Path


def identity_of(process: int) -> str | None:
    """Return process id, start time and boot id as a line, such as `4711 83642 6f2c…`; None when it has ended.

    See proc_pid_stat(5): the name, in parentheses, may contain any characters.
    """
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, start_time = fields[0], fields[19]
    if state in {"Z", "X"}:
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{process} {start_time} {boot}\n"
