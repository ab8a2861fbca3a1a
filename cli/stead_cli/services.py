"""Programs as systemd units, where systemd runs: started now and at each boot, until they are removed."""

import subprocess
from pathlib import Path
from typing import Final

from stead_cli.errors import CliError

_FOLDER: Final = Path("/etc/systemd/system")
_SECONDS: Final = 300.0  # longer than systemd waits for a reload, by the unit's TimeoutStartSec=


def has_systemd() -> bool:
    """Tell whether systemd runs here and its units see the same files: not if this is another mount namespace."""
    if not Path("/run/systemd/system").is_dir():
        return False
    try:
        return Path("/proc/1/ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink()
    except PermissionError:
        return True  # only root may read this; other users do not start programs


def main_process(unit: str) -> int | None:
    """Return the process id of a unit, if it runs."""
    if not has_systemd():
        return None
    done = _systemctl("show", "--property=MainPID", "--value", unit)
    said = done.stdout.strip()
    return int(said) if done.returncode == 0 and said.isdecimal() and int(said) else None


def is_there(unit: str) -> bool:
    """Tell whether there is a unit of this name that we wrote."""
    return has_systemd() and (_FOLDER / unit).exists()


def properties(unit: str, *names: str) -> dict[str, str]:
    """Return these properties of a unit; raises CliError."""
    done = _systemctl("show", f"--property={','.join(names)}", unit)
    if done.returncode != 0:
        raise CliError(f"systemctl show {unit}: {done.stderr.strip()}")
    return dict.fromkeys(names, "") | dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def write(unit: str, text: str) -> None:
    """Write the unit with this text; systemd reads it with the next `start`."""
    file = _FOLDER / unit
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        temporary = file.with_name(f".{unit}.new")
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
        temporary.replace(file)


def start(unit: str, text: str) -> None:
    """Write the unit with this text, start it, and enable it at boot."""
    write(unit, text)
    _must("daemon-reload")
    _systemctl("reset-failed", unit)
    _must("enable", "--now", unit)


def restart(unit: str, text: str) -> None:
    """Write the unit with this text while what it had runs on, and only then replace that."""
    write(unit, text)
    _must("daemon-reload")
    _must("enable", unit)
    _must("restart", unit)


def reload(unit: str, text: str) -> None:
    """Write the unit with this text, and let what it names take the place of what runs, by its ExecReload=.

    Where that fails the text is as it was, for what runs on; CliError is raised.
    """
    file = _FOLDER / unit
    before = file.read_text(encoding="utf-8") if file.exists() else text
    write(unit, text)
    _must("daemon-reload")
    _must("enable", unit)
    try:
        _must("reload", unit)
    except CliError:
        write(unit, before)
        _must("daemon-reload")
        raise


def remove(unit: str) -> bool:
    """Stop the unit and remove it; tell whether it ran."""
    file = _FOLDER / unit
    if not has_systemd() or not file.exists():
        return False
    ran = main_process(unit) is not None
    _must("disable", "--now", unit)
    file.unlink()
    _must("daemon-reload")
    return ran


def _must(*words: str) -> None:
    done = _systemctl(*words)
    if done.returncode != 0:
        raise CliError(f"systemctl {' '.join(words)}: {done.stderr.strip()}", f"journalctl -u {words[-1]}")


def _systemctl(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemctl", "--quiet", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS,
        check=False,
    )  # fmt: skip
