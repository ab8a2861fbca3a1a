"""Releases beside each other: what a file may be, how one is installed, which one is used, and the way back by `stead upgrade`."""

import io
import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from stead_cli import cloud, enrolment, installed, processes, release, upgrade
from stead_cli.checkout import Version
from stead_cli.errors import CliError
from stead_cli.installed import Installed
from stead_cli.steps import Steps

# In the place of Python an environment's programs, which say in a file what they were asked. The release's text says
# with which status its launcher and its `pip` end, and the database's revision is that of the release that ran last. It
# is undone while the former one starts.
_PYTHON = """#!/bin/sh
umask 022
mkdir -p .venv/bin
place=$(pwd)
. ./requirements.txt
for program in pip python stead stead-controller; do
  { echo '#!/bin/sh'; echo "place=$place"; cat "$place/program"; } >.venv/bin/$program
  chmod 755 .venv/bin/$program
done
"""
_PROGRAM = """
. "$place/requirements.txt"
echo "${place##*/} ${0##*/} $*${PYTHONPATH:+ with $PYTHONPATH}" >>"$STEAD_STATE_DIR/asked"
case "${0##*/} $2" in
"stead-controller newest") echo "$revision" ;;
"stead-controller revision") cat "$STEAD_STATE_DIR/revision" ;;
pip*) echo "a hash differs" >&2; exit "$installs" ;;
"stead-controller downgrade")
  echo loaded
  timeout 10 sh -c 'until [ -e "$STEAD_STATE_DIR/up" ]; do :; done' || { echo nobody came up >&2; exit 1; }
  [ ! -e "$STEAD_STATE_DIR/shared" ] || { echo another one uses it >&2; exit 1; } ;;
"stead "*)
  [ "$1" != up ] || { echo "$revision" >"$STEAD_STATE_DIR/revision"; touch "$STEAD_STATE_DIR/up"; }
  ! rm "$STEAD_STATE_DIR/early" 2>/dev/null || exit 1
  exit "$runs" ;;
esac
"""
_ASKED_OF_PIP = (
    "pip --isolated install --quiet --no-index --find-links=. --find-links=wheels --no-compile --require-hashes"
    " --requirement=requirements.txt"
)


@dataclass
class World:
    folder: Path
    stopped: list[str]

    @property
    def root(self) -> Path:
        return self.folder / "opt"

    def file(self, name: str, *, time: int, installs: int = 0, runs: int = 0, **others: str) -> str:
        """Make a release's file."""
        needs = f"revision={name}; installs={installs}; runs={runs}"
        path = self.folder / f"{name}.tar"
        with tarfile.open(path, "w") as tar:
            for entry, text in {"program": _PROGRAM, "requirements.txt": needs, **others}.items():
                made = tarfile.TarInfo(entry if "/" in entry else f"{name}/{entry}")
                made.mtime, made.size = time, len(text)
                tar.addfile(made, io.BytesIO(text.encode()))
        return str(path)

    def run(self, *words: str) -> Result:
        """Run `stead upgrade` of the release that is used."""
        installed.sys.prefix = str((self.root / "current").resolve() / ".venv")  # type: ignore[attr-defined] - not the real one
        return CliRunner().invoke(upgrade.upgrade, [*words])

    def asked(self) -> list[str]:
        """What programs were asked since the last look, without where the state is."""
        file = self.folder / "state/asked"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [line.replace(f" --state-dir={self.folder}/state/controller", "") for line in lines]

    @property
    def used(self) -> str:
        return (self.root / "current").readlink().name

    @property
    def there(self) -> list[str]:
        return sorted(path.name for path in self.root.glob("stead-*"))


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A machine that has the release `stead-1` and runs it."""
    made = World(tmp_path, [])
    for folder in (made.root, tmp_path / "state/run"):
        folder.mkdir(parents=True)
    (tmp_path / "python").write_text(_PYTHON)
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "state/revision").write_text("stead-1")
    monkeypatch.setenv("STEAD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(installed, "_PYTHON", str(tmp_path / "python"))
    monkeypatch.setattr(installed, "sys", SimpleNamespace(prefix=""))
    monkeypatch.setattr(release, "installed_version", lambda: "stead 1")
    monkeypatch.setattr(cloud, "require_root", lambda _what: None)
    monkeypatch.setattr(enrolment, "is_enrolled", lambda _chosen: True)
    monkeypatch.setattr(processes, "find", lambda _program: 1)
    monkeypatch.setattr(processes, "stop", lambda program: made.stopped.append(program.name))
    monkeypatch.setattr(cloud, "controller_health", lambda _settings: cloud.Health(answers=False, detail=""))
    first = made.file("stead-1", time=100)
    with tarfile.open(first) as tar:
        Installed(made.root, Steps())._install(tar, made.root / "stead-1")
    Installed(made.root, Steps()).move("stead-1")
    made.asked()
    return made


def test_another_release_is_installed_beside_and_runs_then(world):
    done = world.run(world.file("stead-2", time=200), "--output", "json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["from"], said["to"], world.used) == ("stead-1", "stead-2", "stead-2")
    assert world.asked() == [
        f"stead-2 {_ASKED_OF_PIP}",
        f"stead-2 python -c {installed._LOADS}",
        "stead-1 stead-controller database newest",
        "stead-2 stead up",
    ]
    needs = (world.root / "stead-2/requirements.txt").read_text()
    assert (world.root / "stead-2/.venv/stead-stamp").read_text() == needs
    assert world.there == ["stead-1", "stead-2"]
    assert world.stopped == [], "the new `up` replaces what runs"


def test_the_way_back_has_the_database_of_before_and_is_gone_once(world):
    world.run(world.file("stead-2", time=200))
    world.asked()
    (world.folder / "state/up").unlink()
    done = world.run("--back")
    assert (done.exit_code, world.used, world.stopped) == (0, "stead-1", []), done.output
    assert sorted(world.asked()) == [
        "stead-1 stead up",
        "stead-2 stead-controller database downgrade --when-free stead-1",
        "stead-2 stead-controller database revision",
    ]
    again = world.run("--back")
    assert (again.exit_code, "nothing says what ran here before" in again.output) == (1, True)


def test_where_the_database_cannot_go_back_what_ran_runs_again(world):
    world.run(world.file("stead-2", time=200))
    (world.folder / "state/shared").touch()
    world.asked()
    done = world.run("--back")
    assert (done.exit_code, world.used, "another one uses it" in done.output) == (1, "stead-2", True)
    assert world.asked()[-1] == "stead-2 stead up"


def test_a_former_release_that_came_before_its_database_is_started_again(world):
    world.run(world.file("stead-2", time=200))
    world.asked()
    (world.folder / "state/early").touch()
    done = world.run("--back")
    assert (done.exit_code, world.used) == (0, "stead-1"), done.output
    assert world.asked().count("stead-1 stead up") == 2


def test_what_a_playbook_has_upgraded_is_gone_back_from_too(world):
    """It leaves the release before, and writes no note; one that is newer is no way back."""
    with tarfile.open(world.file("stead-2", time=200)) as tar:
        Installed(world.root, Steps())._install(tar, world.root / "stead-2")
    Installed(world.root, Steps()).move("stead-2")
    (world.folder / "state/revision").write_text("stead-2")
    world.asked()
    assert world.run("--back").exit_code == 0
    assert sorted(world.asked()) == [
        "stead-1 stead up",
        "stead-1 stead-controller database newest",
        "stead-2 stead-controller database downgrade --when-free stead-1",
        "stead-2 stead-controller database revision",
    ]
    assert "nothing says what ran here before" in world.run("--back").output
    world.run(world.file("stead-2", time=200))
    (world.folder / "state/upgraded.json").unlink()
    (world.root / "stead-1/.venv/stead-stamp").unlink()
    assert "nothing says what ran here before" in world.run("--back").output, "it is not whole"
    (world.root / "stead-1/.venv/stead-stamp").touch()
    shutil.copytree(world.root / "stead-1", world.root / "stead-0")
    assert "nothing says what ran here before" in world.run("--back").output, "there are two"


def test_what_does_not_start_is_gone_back_from(world):
    done = world.run(world.file("stead-2", time=200, runs=1))
    assert (done.exit_code, world.used, world.stopped) == (1, "stead-1", ["controller"])
    assert "stead-2 does not run here, and stead-1 runs again" in done.output
    asked = world.asked()[3:]
    assert asked[:2] == ["stead-2 stead up", "stead-2 stead-controller database revision"]
    assert sorted(asked[2:]) == ["stead-1 stead up", "stead-2 stead-controller database downgrade --when-free stead-1"]


def test_what_does_not_start_is_not_started_again_where_the_database_cannot_go_back(world):
    (world.folder / "state/shared").touch()
    done = world.run(world.file("stead-2", time=200, runs=1))
    assert (done.exit_code, world.used, "another one uses it" in done.output) == (1, "stead-2", True)
    assert world.stopped == ["controller"] * 2
    assert world.asked().count("stead-2 stead up") == 1


def test_only_the_one_before_is_kept(world):
    for number in (2, 3, 4):
        assert world.run(world.file(f"stead-{number}", time=number * 100)).exit_code == 0
    assert world.there == ["stead-3", "stead-4"]
    world.run("--back")
    assert world.used == "stead-3"
    world.run(world.file("stead-5", time=500))
    assert world.there == ["stead-3", "stead-5"], "and not the one that was gone back from"


def test_what_cannot_be_installed_leaves_nothing_and_changes_nothing(world, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "another's")
    done = world.run(world.file("stead-2", time=200, installs=1))
    assert (done.exit_code, world.used, world.there) == (1, "stead-1", ["stead-1"])
    assert "a hash differs" in done.output
    assert world.asked() == [f"stead-2 {_ASKED_OF_PIP}"]


def test_one_that_is_not_whole_is_installed_again_and_one_that_is_whole_is_not(world):
    file = world.file("stead-2", time=200)
    (world.root / "stead-2").mkdir()
    (world.root / "stead-2/requirements.txt").write_text("half")
    assert world.run(file).exit_code == 0
    assert world.asked()[0] == f"stead-2 {_ASKED_OF_PIP}"
    assert world.run(file).exit_code == 0
    assert world.asked() == ["stead-2 stead up"]


def test_files_that_are_no_newer_release_are_refused(world):
    (world.folder / "text.tar").write_text("no tar")
    with tarfile.open(world.folder / "link.tar", "w") as tar:
        needs, link = tarfile.TarInfo("stead-2/requirements.txt"), tarfile.TarInfo("stead-2/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(needs)
        tar.addfile(link)
    for words, said in (
        ((), "no release is named"),
        ((str(world.folder / "absent.tar"),), "absent.tar cannot be installed"),
        ((str(world.folder / "text.tar"),), "text.tar cannot be installed"),
        ((str(world.folder / "link.tar"),), "link.tar is no release of Stead"),
        ((world.file("other-1", time=200),), "is no release of Stead"),
        ((world.file("stead-2", time=200, **{"stead-3/more": ""}),), "is no release of Stead"),
        ((world.file("stead-0", time=99),), "stead-0 is older than stead-1"),
    ):
        done = world.run(*words)
        assert (done.exit_code, said in done.output) == (1, True), done.output
    for name in ("", "stead-2/program"):
        with tarfile.open(world.folder / "less.tar", "w") as tar:
            if name:
                tar.addfile(tarfile.TarInfo(name))
        assert "is no release of Stead" in world.run(str(world.folder / "less.tar")).output
    assert (world.asked(), world.there, world.used) == ([], ["stead-1"], "stead-1")


def test_the_link_leads_to_what_is_whole_alone(world):
    (world.root / "stead-2").mkdir()
    place = Installed(world.root, Steps())
    with pytest.raises(CliError, match="not there, or not whole"):
        place.move("stead-2")
    assert place.present() == Version("stead-1")
    (world.root / ".current.new").symlink_to("of one that was killed")
    place.move("stead-1")
    assert place.present() == Version("stead-1")


def test_a_release_that_no_link_leads_to_is_not_replaced(world):
    (world.root / "current").unlink()
    (world.root / "current").symlink_to(world.root / "elsewhere")
    installed.sys.prefix = str(world.root / "stead-1/.venv")  # type: ignore[attr-defined] - not the real one
    with pytest.raises(CliError, match=r"stead-1 is not what .*current leads to"):
        Installed.here(Steps())


def test_a_path_that_stays_true_goes_through_the_link(world):
    programs = world.root / "stead-1/.venv/bin"
    assert installed.lasting(programs / "stead") == world.root / "current/.venv/bin/stead"
    other = world.root / "stead-2/.venv/bin/stead"
    assert installed.lasting(other) == other
    (world.root / "current").unlink()
    assert installed.lasting(programs / "stead") == programs / "stead"
