"""Logs of programs that outlive the agent are emptied when they are large; one that cannot be holds up no other."""

from pathlib import Path

import pytest

from stead_agent.programs import daemon_logs
from stead_agent.settings import Settings
from stead_proto import bounded_log

LOGS = (
    "state/libvirtd.log",
    "state/disks/bases/filling/base-1.log",
    "run/metadata/log",
    "run/endpoints/log",
)


def test_large_logs_are_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(state_dir=tmp_path / "state", run_dir=tmp_path / "run")
    for name in (*LOGS, "state/consoles/i-1/1.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("0123456789")
    daemon_logs.limit_size(settings, 11)
    assert {(tmp_path / name).stat().st_size for name in LOGS} == {10}
    real = bounded_log.copy_aside_if_large

    def copy(path: Path, most_bytes: int) -> None:
        if path.name == "libvirtd.log":
            raise OSError("no")
        real(path, most_bytes)

    monkeypatch.setattr(bounded_log, "copy_aside_if_large", copy)
    daemon_logs.limit_size(settings, 10)
    assert [(tmp_path / name).stat().st_size for name in LOGS] == [10, 0, 0, 0]
    monkeypatch.undo()
    daemon_logs.limit_size(settings, 10)
    assert [(tmp_path / name).stat().st_size for name in LOGS] == [0, 0, 0, 0]
    assert (tmp_path / "run/metadata/log.1").read_text() == "0123456789"
    assert (tmp_path / "state/consoles/i-1/1.log").read_text() == "0123456789", "a guest's console is not ours to empty"
