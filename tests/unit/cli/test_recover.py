"""A new controller is begun only where the former one is lost, and a host is there to say what it has."""

import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from stead_cli import (
    block_store,
    cloud,
    image_build,
    metrics_engine,
    object_store,
    processes,
    recover,
    settings,
    traces,
    up,
)
from stead_cli.__main__ import cli
from stead_cli.errors import CliError
from stead_cli.steps import Steps
from stead_controller.resources.storage import volume_keys
from stead_controller.secrets.master_key import MasterKey
from stead_controller.settings import Settings as ControllerSettings
from stead_proto import recovery
from tests.support.rows import NOW

KEY, OLDER = bytes(range(32)), bytes(range(1, 33))


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which nothing may be started."""
    monkeypatch.setenv("STEAD_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(processes, "find", lambda _program: None)
    monkeypatch.setattr(recover, "bring_up", lambda *_, **__: pytest.fail("it was begun"))
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent/identity.pem").touch()
    return tmp_path


def refusal(*words: str) -> str:
    result = CliRunner().invoke(cli, ["recover", *words])
    assert result.exit_code == 1
    return result.output


def test_a_controllers_state_is_not_passed_over(machine: Path) -> None:
    (machine / "controller").mkdir()
    (machine / "controller/ca.pem").touch()
    assert "a controller's state is in" in refusal()


def test_a_controller_that_runs_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "find", lambda _program: 7)
    assert "the controller runs" in refusal()


def test_a_machine_that_was_no_host_has_nothing_to_bring_back(machine: Path) -> None:
    (machine / "agent/identity.pem").unlink()
    assert "this machine was no host of a cloud" in refusal()


def test_a_host_of_another_machine_joins_that_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEAD_CONTROLLER_ADDRESS", "192.0.2.11")
    chosen = settings.load()
    assert chosen.controller_address == "192.0.2.11"
    assert "stead join --again" in refusal()


def test_up_does_not_begin_another_cloud_beside_guests_of_a_lost_one(machine: Path) -> None:
    for words in (["up"], ["demo"]):
        result = CliRunner().invoke(cli, words)
        assert (result.exit_code, "./stead recover" in result.output) == (1, True), words
    assert not (machine / "controller").exists()


def test_it_is_for_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in refusal()


class StartedError(Exception):
    """The controller was to be started."""


@pytest.fixture
def starts(machine: Path, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether there was word for the controller, each time that one was to be started."""
    found: list[bool] = []

    def start(_program: processes.Program) -> None:
        found.append(recovery.has_begun(machine / "controller"))
        raise StartedError

    monkeypatch.setattr(image_build, "build", lambda *_: None)
    monkeypatch.setattr(cloud, "controller_health", lambda _chosen: cloud.Health(answers=False, detail=""))
    monkeypatch.setattr(processes, "start", start)
    return found


@pytest.mark.parametrize("recovers", [True, False])
def test_the_controller_of_a_recovery_alone_is_told_to_await_hosts(
    machine: Path, starts: list[bool], *, recovers: bool
) -> None:
    with pytest.raises(StartedError):
        up.bring_up(settings.load(), Steps(), (), is_host=False, recovers=recovers)
    assert starts == [recovers]
    assert not recovers or stat.S_IMODE((machine / "controller").stat().st_mode) == 0o700


def test_a_recovery_that_is_refused_leaves_nothing(
    machine: Path, starts: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_chosen: settings.Settings) -> None:
        raise CliError("the blocks have no keys")

    for part in (block_store, object_store, metrics_engine, traces):
        with monkeypatch.context() as patch:
            patch.setattr(part, "require", refuse)
            with pytest.raises(CliError, match="no keys"):
                up.bring_up(settings.load(), Steps(), (), is_host=False, recovers=True, master_key=KEY)
    monkeypatch.setattr(cloud, "controller_health", lambda _chosen: cloud.Health(answers=True, detail="ok"))
    with pytest.raises(CliError, match="another controller"):
        up.bring_up(settings.load(), Steps(), (), is_host=False, recovers=True, master_key=KEY)
    assert not (machine / "controller").exists()
    assert starts == []


# -- with the saved master key

OF_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root has files that are root's")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A file of root's alone, as yet without a key."""
    path = tmp_path / "saved.key"
    path.touch(mode=0o600)
    return path


@pytest.fixture
def begun(machine: Path, starts: list[bool], monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The master key with which a controller was begun, empty for none given, as often as one was."""
    found: list[bytes] = []

    def start(_program: processes.Program) -> None:
        place = machine / "controller/master.key"
        assert not place.exists() or stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        assert not place.exists() or stat.S_IMODE(place.stat().st_mode) == 0o600
        found.append(place.read_bytes() if place.exists() else b"")
        raise StartedError

    def bring_up(chosen: settings.Settings, *_: object, **how: Any) -> SimpleNamespace:
        with pytest.raises(StartedError):
            up.bring_up(chosen, Steps(), (), **how)
        return SimpleNamespace(host=None)

    monkeypatch.setattr(processes, "start", start)
    monkeypatch.setattr(recover, "bring_up", bring_up)
    monkeypatch.setattr(recover, "Operator", lambda _: SimpleNamespace(list_unclaimed=list))
    return found


def with_key(saved: Path) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["recover", "--master-key-file", str(saved)])
    assert not any(secret in result.output for secret in (KEY.hex(), OLDER.hex(), KEY.decode(), OLDER.decode()))
    return result.exit_code, result.output


@OF_ROOT
def test_what_the_former_controller_sealed_is_opened_by_the_new_one(
    machine: Path, saved: Path, begun: list[bytes]
) -> None:
    former = MasterKey.of(ControllerSettings(state_dir=machine))
    sealed = former.sealer.seal(b"of a volume", volume_keys.CONTEXT)
    saved.write_bytes((machine / "master.key").read_bytes())
    assert with_key(saved)[0] == 0
    assert len(begun) == 1
    new = MasterKey.of(ControllerSettings(state_dir=machine / "controller"))
    assert new.sealer.open(sealed, volume_keys.CONTEXT) == b"of a volume"


@OF_ROOT
def test_older_versions_are_kept_since_hosts_have_what_they_sealed(
    machine: Path, saved: Path, begun: list[bytes]
) -> None:
    former = MasterKey.of(ControllerSettings(state_dir=machine))
    sealed = former.sealer.seal(b"of a volume", volume_keys.CONTEXT)
    former.add(NOW)
    saved.write_bytes((machine / "master.key").read_bytes())
    assert with_key(saved)[0] == 0
    new = MasterKey.of(ControllerSettings(state_dir=machine / "controller"))
    assert (sorted(new.versions), len(begun)) == ([1, 2], 1)
    assert new.old(NOW.replace(year=NOW.year + 1)) == frozenset()
    assert new.sealer.open(sealed, volume_keys.CONTEXT) == b"of a volume"


@OF_ROOT
def test_a_key_may_be_given_again(saved: Path, begun: list[bytes]) -> None:
    saved.write_bytes(KEY)
    assert [with_key(saved)[0] for _ in range(2)] == [0, 0]
    assert begun == [KEY, KEY]


@OF_ROOT
def test_another_key_is_not_replaced(machine: Path, saved: Path, begun: list[bytes]) -> None:
    (machine / "controller").mkdir()
    (machine / "controller/master.key").write_bytes(OLDER)
    saved.write_bytes(KEY)
    status, output = with_key(saved)
    assert (status, "there is another master key" in output, begun) == (1, True, [])
    assert (machine / "controller/master.key").read_bytes() == OLDER
    assert not settings.load().memory_file.exists()


@OF_ROOT
@pytest.mark.parametrize("owner", [0, 1])
def test_a_key_that_others_may_read_is_refused(machine: Path, saved: Path, owner: int) -> None:
    saved.write_bytes(KEY)
    saved.chmod(0o640 if owner == 0 else 0o600)
    os.chown(saved, owner, 0)
    status, output = with_key(saved)
    assert (status, "others than root may read" in output) == (1, True)
    assert not (machine / "controller").exists()


SPOILED = {
    "nothing": b"",
    "short": KEY[:31],
    "no number": b"x " + KEY.hex().encode(),
    "number 0": b"0 " + KEY.hex().encode(),
    "short hex": KEY.hex().encode()[:-2],
    "more words": b"1 " + KEY.hex().encode() + b" 5 6",
    "two of a version": f"1 {KEY.hex()}\n1 {OLDER.hex()}".encode(),
    "a bad second line": f"1 {KEY.hex()}\nx".encode(),
    "too large": f"1 {KEY.hex()}\n".encode() + b"\n" * (1 << 20),
}


@OF_ROOT
@pytest.mark.parametrize("content", SPOILED.values(), ids=SPOILED)
def test_what_is_no_master_key_is_refused(machine: Path, saved: Path, content: bytes) -> None:
    saved.write_bytes(content)
    status, output = with_key(saved)
    assert (status, "is no copy of a controller's master.key" in output) == (1, True)
    assert not (machine / "controller").exists()


@OF_ROOT
@pytest.mark.parametrize(
    "content",
    [
        KEY.hex().encode(),
        f"2 {KEY.hex().upper()} 1700000000\n \n 1 {OLDER.hex()}\n1 {OLDER.hex()} 5\n".encode(),
    ],
    ids=["one line", "lines of several copies"],
)
def test_all_forms_of_a_master_key_are_read_as_the_controller_reads_them(
    machine: Path, saved: Path, begun: list[bytes], content: bytes
) -> None:
    saved.write_bytes(content)
    assert (with_key(saved)[0], len(begun)) == (0, 1)
    ring = MasterKey.of(ControllerSettings(state_dir=machine / "controller")).versions
    assert {number: one.key for number, one in ring.items()} in ({1: KEY}, {1: OLDER, 2: KEY})
    assert len(ring) == len({*content.split()} & {b"1", b"2"} or {1})


@OF_ROOT
def test_a_key_may_come_through_a_pipe(begun: list[bytes]) -> None:
    reads, writes = os.pipe()
    os.write(writes, KEY)
    os.close(writes)
    try:
        assert with_key(Path(f"/dev/fd/{reads}"))[0] == 0
    finally:
        os.close(reads)
    assert begun == [KEY]


def test_none_is_needed(begun: list[bytes]) -> None:
    results = [CliRunner().invoke(cli, ["recover", *words]) for words in ((), ("--no-host",))]
    assert [each.exit_code for each in results] == [0, 0]
    assert begun == [b"", b""]


# -- the end of it


@pytest.mark.parametrize("awaited", [True, False])
def test_all_hosts_have_joined(machine: Path, monkeypatch: pytest.MonkeyPatch, *, awaited: bool) -> None:
    (machine / "controller").mkdir()
    (machine / "controller/ca.pem").touch()  # else it is the beginning of another controller
    monkeypatch.setattr(recover, "Operator", lambda _: SimpleNamespace(end_return=lambda: awaited))
    result = CliRunner().invoke(cli, ["recover", "--all-joined"])
    assert (result.exit_code, "given out again" in result.output) == (0, awaited)
