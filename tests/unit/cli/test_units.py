"""The units of systemd for controller and agent."""

import configparser
import importlib.util
import os
import py_compile
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from stead_cli import cloud, processes, services, units
from stead_cli.processes import Program
from stead_cli.settings import Settings


def _options(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",), strict=True)
    parser.optionxform = str
    parser.read_string(text)
    return parser


@pytest.fixture
def programs() -> tuple[Program, Program]:
    settings = Settings()
    return cloud.controller_program(settings), cloud.agent_program(settings)


def test_both_come_back_after_a_crash_and_at_each_boot(programs: tuple[Program, Program]) -> None:
    for program in programs:
        unit = _options(program.unit_text)
        assert shlex.split(unit["Service"]["ExecStart"])[0] == str(program.command[0])
        assert unit["Service"]["Restart"] == "always"
        assert unit["Unit"]["StartLimitIntervalSec"] == "0"
        assert unit["Install"]["WantedBy"] == "multi-user.target"
        assert unit["Service"]["StandardOutput"] == f"append:{program.log_file}"
        assert f"--log-file={program.log_file}" in program.command, (
            "nobody else puts a file aside that systemd appends to"
        )


def test_the_controller_alone_takes_the_place_of_what_runs(programs: tuple[Program, Program]) -> None:
    service = _options(programs[0].unit_text)["Service"]
    words = [str(word) for word in programs[0].command]
    assert shlex.split(service["ExecReload"]) == ["/usr/bin/env", "STEAD_SUCCEEDS=1", *words]
    assert service["NotifyAccess"] == "all"
    assert [program.succeeds for program in programs] == [True, False]
    assert "ExecReload" not in _options(programs[1].unit_text)["Service"]


def test_names_differ_between_clouds(programs: tuple[Program, Program], tmp_path: Path) -> None:
    assert [program.unit for program in programs] == ["stead-controller.service", "stead-agent.service"]
    other = cloud.agent_program(Settings(tmp_path))
    assert other.unit != "stead-agent.service"
    assert other.unit == cloud.agent_program(Settings(tmp_path)).unit


def test_the_agent_leaves_its_children_and_its_mounts_visible(programs: tuple[Program, Program]) -> None:
    unit = _options(programs[1].unit_text)
    assert unit["Service"]["KillMode"] == "process"
    assert "network-online.target" in unit["Unit"]["After"].split()
    assert "network-online.target" in unit["Unit"]["Wants"].split()
    assert {programs[0].unit, "libvirt-guests.service"} <= set(unit["Unit"]["After"].split())
    # systemd.exec(5): each of these gives a unit a mount namespace, in which the names of VPCs would be hidden.
    hiding = ("Protect", "Private", "ReadOnlyPaths", "ReadWritePaths", "InaccessiblePaths", "Bind", "TemporaryFile")
    assert [option for option in unit["Service"] if option.startswith(hiding)] == []


def test_the_controller_may_write_its_state_only(programs: tuple[Program, Program]) -> None:
    service = _options(programs[0].unit_text)["Service"]
    assert service["ProtectSystem"] == "strict"
    assert service["ReadWritePaths"].split() == ["/var/lib/stead/controller", "/var/lib/stead/log"]


def test_the_controller_may_read_beyond_that_where_the_checkout_is_a_persons(tmp_path: Path) -> None:
    few = "CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_CHOWN CAP_KILL"
    of_root = units.controller_unit(["/usr/bin/env"], tmp_path, tmp_path / "log")
    assert _options(of_root)["Service"]["CapabilityBoundingSet"] == few
    if os.geteuid() == 0:
        os.chown(tmp_path, 1234, 1234)
    of_person = units.controller_unit([tmp_path / ".venv" / "bin" / "controller"], Path("/var/lib/x"), Path("/x"))
    assert _options(of_person)["Service"]["CapabilityBoundingSet"] == f"{few} CAP_DAC_READ_SEARCH"


@pytest.mark.parametrize(("state", "private"), [("/var/lib/x", "yes"), ("/var/tmp/x", "no"), ("/tmp/x", "no")])
def test_a_cloud_in_tmp_still_sees_it(state: str, private: str) -> None:
    text = units.controller_unit(["/opt/bin/stead-controller"], Path(state), Path("/var/log/x"))
    assert _options(text)["Service"]["PrivateTmp"] == private


def test_what_systemd_would_replace_or_cut_is_quoted() -> None:
    command = ["/opt/a b/agent", "--name=100%", "--x=$HOME", 'say "a\\b"', ""]
    text = units.agent_unit(command, Path("/var/log/100%/a b.log"), "")
    service = _options(text)["Service"]
    assert service["ExecStart"] == r'"/opt/a b/agent" "--name=100%%" --x=$$HOME "say \"a\\b\"" ""'
    assert service["StandardOutput"] == "append:/var/log/100%%/a b.log"
    with pytest.raises(ValueError, match="cannot speak"):
        units.agent_unit(["/opt/agent", "a\nb"], Path("/x"), "")


def test_a_backup_is_made_each_day_and_old_ones_go_then(tmp_path: Path) -> None:
    state = tmp_path / "a b"
    text = units.backup_unit("Stead backup", (["/b/stead", "create"], ["/b/stead", "prune"]), state)
    assert "PrivateNetwork=yes\n" in text
    remote = units.backup_unit("Stead backup", (["/b/stead", "create"],), state, has_network=True)
    assert "PrivateNetwork=no\n" in remote
    assert "ExecStart=/b/stead create\nExecStart=/b/stead prune\n" in text
    assert f'Environment="STEAD_STATE_DIR={state}"' in text
    assert _options(units.backup_timer("Stead backup", "03:30"))["Timer"]["OnCalendar"] == "*-*-* 03:30:00"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    settings = replace(Settings(tmp_path / "a b%c"), uplink="none")
    files = []
    for program in (cloud.controller_program(settings), cloud.agent_program(settings)):
        files.append(tmp_path / program.unit)
        files[-1].write_text(program.unit_text)
    # Its name is that of the service whose timer it is.
    files += [tmp_path / "stead-backup.service", tmp_path / "stead-backup.timer"]
    words: list[str | Path] = ["/bin/true", "a b%c$d"]
    files[-2].write_text(units.backup_unit("Stead backup into /a b%c", (words, words), tmp_path / "a b%c"))
    files[-1].write_text(units.backup_timer("Stead backup into /a b%c", "03:30"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, files)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if any(file.name in line for file in files)]
    assert (ours, done.returncode) == ([], 0), done.stderr


class Machine:
    """A systemd that follows its commands."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.running = False

    def systemctl(self, *words: str) -> "subprocess.CompletedProcess[str]":
        self.calls.append(words)
        if words[0] in {"enable", "disable"}:
            self.running = words[0] == "enable"
        return subprocess.CompletedProcess(words, 0, "4711\n" if self.running else "0\n", "")


def test_up_and_down_where_systemd_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    monkeypatch.setattr(services, "_FOLDER", tmp_path)
    monkeypatch.setattr(services, "_systemctl", machine.systemctl)
    monkeypatch.setattr(services, "has_systemd", lambda: True)
    program = cloud.agent_program(Settings(tmp_path / "state"))
    assert processes.find(program) is None
    processes.start(program)
    assert (tmp_path / program.unit).read_text() == program.unit_text
    assert machine.calls[-3:] == [("daemon-reload",), ("reset-failed", program.unit), ("enable", "--now", program.unit)]
    assert processes.find(program) == 4711
    assert processes.stop(program)
    assert not (tmp_path / program.unit).exists()
    assert machine.calls[-2:] == [("disable", "--now", program.unit), ("daemon-reload",)]
    assert not processes.stop(program)


@pytest.mark.parametrize("compiled", [True, False])
def test_what_was_compiled_once_is_not_loaded_before_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    """Nobody answers then; systemd lets a controller write nothing that it compiles, so one that is new is loaded."""
    versions = tmp_path / "stead_controller/db/migrations/versions"
    versions.mkdir(parents=True)
    (tmp_path / "stead_controller/__init__.py").touch()
    for name in ("first.py", "second.py"):
        (versions / name).touch()
    loaded: list[object] = []

    def load(command: list[object], **_: object) -> "subprocess.CompletedProcess[str]":
        loaded.append(command[-1])
        return subprocess.CompletedProcess([], 0, "", "")

    spec = importlib.util.spec_from_file_location(
        "stead_controller",
        tmp_path / "stead_controller/__init__.py",
        submodule_search_locations=[str(tmp_path / "stead_controller")],
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: spec)
    monkeypatch.setattr(services, "has_systemd", lambda: True)
    monkeypatch.setattr(processes, "find", lambda _program: None)
    monkeypatch.setattr(subprocess, "run", load)
    for path in versions.glob("*.py") if compiled else [versions / "first.py"]:
        py_compile.compile(str(path))
    cloud._load_first(cloud.controller_program(Settings(tmp_path)))
    assert len(loaded) == (not compiled)
