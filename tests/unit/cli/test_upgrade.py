"""`stead upgrade`: what is asked before anything is changed, and what comes of a release that does not start."""

import fcntl
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stead_cli import cloud, enrolment, processes, settings, upgrade
from stead_cli.errors import CliError
from tests.support.copied_checkout import commit, git

# What these programs are asked is in a file; the launcher of a release that does not start ends with 1, and the
# database's revision is that of the release that ran last.
_LAUNCHER = """#!/bin/sh
echo "stead $*${{STEAD_UPLINK:+ with $STEAD_UPLINK}}" >>"$STEAD_STATE_DIR/asked"
[ "$1" != up ] || echo {revision} >"$STEAD_STATE_DIR/revision"
exit {status}
"""
_CONTROLLER = """#!/bin/sh
echo "controller $*" >>"$STEAD_STATE_DIR/asked"
case "$2" in
newest) tail -n 1 "{place}/release" ;;
downgrade)
  [ ! -e "$STEAD_STATE_DIR/shared" ] || {{ echo another one uses it >&2; exit 1; }}
  echo loaded
  n=0
  while [ -e "$STEAD_STATE_DIR/serves" ] && [ $n -lt 3000000 ]; do n=$((n + 1)); done
  [ $n -lt 3000000 ] || echo "controller waited in vain" >>"$STEAD_STATE_DIR/asked" ;;
revision) [ ! -e "{place}/unreadable" ] || {{ echo cannot be read >&2; exit 1; }}; cat "$STEAD_STATE_DIR/revision" ;;
esac
"""


@dataclass
class World:
    place: Path
    state: Path
    stopped: list[str]

    def commit(self, revision: str, *, status: int = 0, **files: str) -> str:
        (self.place / "stead").write_text(_LAUNCHER.format(revision=revision, status=status))
        (self.place / "stead").chmod(0o755)
        (self.place / "release").write_text(revision)
        for name, text in files.items():
            (self.place / name).write_text(text)
        return commit(self.place, revision)

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(upgrade.upgrade, [*words])

    def asked(self) -> list[str]:
        """What programs were asked since the last look, without where the state is."""
        file = self.state / "asked"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [line.replace(f" --state-dir={self.state}/controller", "") for line in lines]

    @property
    def at(self) -> tuple[str, str]:
        return git(self.place, "rev-parse", "HEAD"), git(self.place, "branch", "--show-current")


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A cloud that runs as of the first of two commits, of which the second one is on the branch `next`."""
    state, place = tmp_path / "state", tmp_path / "place"
    programs = place / ".venv/bin"
    for folder in (state / "run", place, programs):
        folder.mkdir(parents=True)
    made = World(place, state, [])
    git(place, "init", "--quiet", "--initial-branch=main")
    (place / ".git/info/exclude").write_text(".venv\n")
    made.commit("r1")
    git(place, "checkout", "--quiet", "-b", "next")
    made.commit("r2")
    git(place, "checkout", "--quiet", "main")
    (state / "revision").write_text("r1")
    (programs / "stead-controller").write_text(_CONTROLLER.format(place=place))
    (programs / "stead-controller").chmod(0o755)
    monkeypatch.setenv("STEAD_STATE_DIR", str(state))
    monkeypatch.setattr(upgrade, "CHECKOUT", place)
    monkeypatch.setattr(cloud, "require_root", lambda _what: None)
    monkeypatch.setattr(enrolment, "is_enrolled", lambda _chosen: True)
    monkeypatch.setattr(processes, "find", lambda _program: 1)
    monkeypatch.setattr(processes, "stop", lambda program: made.stopped.append(program.name))
    monkeypatch.setattr(cloud, "controller_health", lambda _settings: cloud.Health((state / "answers").exists(), ""))
    return made


def test_it_runs_another_commit_whose_branch_is_checked_out_then(world):
    first, newer = world.at[0], git(world.place, "rev-parse", "next")
    done = world.run("next", "--output", "json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["from"], said["to"]) == (first, newer)
    assert world.at == (newer, "next")
    assert world.asked() == ["controller database newest", "stead up"]
    assert world.stopped == [], "the new `up` replaces what runs, when its own can be loaded"


def test_settings_stay_whatever_the_environment_says(world, monkeypatch):
    monkeypatch.setenv("STEAD_UPLINK", "none")
    monkeypatch.setenv("STEAD_HTTP_PORT", "")
    done = world.run("next", "--output", "json")
    assert "An upgrade changes no setting: STEAD_UPLINK is for `stead up`" in done.stderr
    assert world.asked() == ["controller database newest", "stead up"]
    monkeypatch.delenv("STEAD_UPLINK")
    assert "changes no setting" not in world.run("--back").output


def test_a_setting_of_the_environment_does_not_say_where_the_controller_is(world, monkeypatch):
    monkeypatch.setenv("STEAD_CONTROLLER_ADDRESS", "192.0.2.1")
    world.run("next")
    assert world.asked() == ["controller database newest", "stead up"]


def test_it_goes_back_with_the_database_of_before_and_that_once(world):
    first = world.at[0]
    world.run("next")
    world.asked()
    done = world.run("--back")
    assert done.exit_code == 0, done.output
    assert world.at == (first, "main")
    assert world.stopped == [], "the former one's `up` replaces what runs"
    assert world.asked() == ["controller database revision", "controller database downgrade --when-free r1", "stead up"]
    again = world.run("--back")
    assert again.exit_code == 1
    assert "nothing says what ran here before" in again.output


def test_where_the_database_cannot_go_back_what_runs_runs_on(world):
    world.run("next")
    after = world.at
    world.asked()
    (world.state / "shared").touch()
    done = world.run("--back")
    assert (done.exit_code, "another one uses it" in done.output, world.at) == (1, True, after)
    assert world.stopped == []
    assert world.asked() == ["controller database revision", "controller database downgrade --when-free r1"]


def test_where_the_former_one_does_not_start_what_serves_serves_on(world):
    """What waits for its end to undo the database's changes would wait for long."""
    (world.place / "stead").write_text("#!/bin/sh\nexit 1\n")
    commit(world.place, "broken")
    world.run("next")
    git(world.place, "checkout", "--quiet", "next")
    (world.state / "upgraded.json").write_text(
        json.dumps(asdict(upgrade.Note(git(world.place, "rev-parse", "main"), "main", "r0", world.at[0], "next", True)))
    )
    after = world.at
    world.asked()
    for file in ("serves", "answers"):
        (world.state / file).touch()
    done = world.run("--back")
    assert (done.exit_code, "`stead up` failed" in done.output, world.at[0]) == (1, True, after[0]), done.output
    assert world.asked()[-1] == "stead up", "what waited was ended, and what serves is asked to run"


@pytest.mark.parametrize("answers", [True, False])
def test_a_former_one_that_fails_once_the_database_is_its_own_is_started_again_unless_the_newer_serves(
    world, monkeypatch, answers
):
    """That has changed the database again."""
    (world.place / "stead").write_text('#!/bin/sh\necho "stead $*" >>"$STEAD_STATE_DIR/asked"\nexit 1\n')
    broken = commit(world.place, "broken")
    git(world.place, "checkout", "--quiet", "next")
    after = world.at
    note = upgrade.Note(broken, "main", "r0", after[0], "next", is_done=True)
    (world.state / "upgraded.json").write_text(json.dumps(asdict(note)))
    (world.state / "revision").write_text("r2")
    found = iter([False, answers])
    monkeypatch.setattr(cloud, "controller_health", lambda _settings: cloud.Health(next(found), ""))
    done = world.run("--back")
    assert (done.exit_code, "`stead up` failed" in done.output) == (1, True), done.output
    assert world.at[0] == (after[0] if answers else broken)
    assert world.asked().count("stead up") == (1 if answers else 2)


def test_where_the_agent_does_not_start_the_controller_is_replaced_once_more_but_not_stopped(world):
    git(world.place, "checkout", "--quiet", "-b", "broken")
    world.commit("r9", status=1)
    git(world.place, "checkout", "--quiet", "main")
    (world.state / "answers").touch()
    assert world.run("broken").exit_code == 1
    assert world.stopped == []
    assert world.asked()[-1] == "stead up"


def test_a_database_that_has_not_changed_is_left_alone(world):
    git(world.place, "checkout", "--quiet", "next")
    world.commit("r1")
    git(world.place, "checkout", "--quiet", "main")
    world.run("next")
    world.asked()
    assert world.run("--back").exit_code == 0
    assert world.asked() == ["controller database revision", "stead up"]
    assert world.stopped == []


def test_what_does_not_start_is_gone_back_from(world):
    before = world.at
    git(world.place, "checkout", "--quiet", "-b", "broken")
    broken = world.commit("r9", status=1)
    git(world.place, "checkout", "--quiet", "main")
    done = world.run("broken")
    assert done.exit_code == 1
    assert f"{broken[:12]} does not run here, and {before[0][:12]} runs again" in done.output
    assert world.at == before
    assert world.asked()[1:] == [
        "stead up", "controller database revision", "controller database downgrade --when-free r1", "stead up",
    ]  # fmt: skip
    assert world.stopped == ["controller"], "systemd would start it again and again"
    assert world.run("--back").exit_code == 1, "there is nothing to go back from"
    assert world.run("next").exit_code == 0


def test_programs_that_cannot_even_read_the_database_have_not_changed_it(world):
    before = world.at
    git(world.place, "checkout", "--quiet", "-b", "broken")
    world.commit("r9", status=1, unreadable="")
    git(world.place, "checkout", "--quiet", "main")
    done = world.run("broken")
    assert (done.exit_code, world.at) == (1, before)
    assert "cannot read the database: stead-controller database revision: cannot be read" in done.output
    assert world.asked()[1:] == ["stead up", "controller database revision", "stead up"]
    assert world.stopped == []


def test_one_that_was_killed_on_its_way_goes_on_and_can_be_gone_back_from(world, monkeypatch):
    first, newer = world.at[0], git(world.place, "rev-parse", "next")
    with monkeypatch.context() as patched:
        patched.setattr(upgrade._Upgrade, "_start", _dies)
        assert isinstance(world.run("next").exception, SystemError)
    assert world.at == (newer, "")
    world.asked()
    assert world.run().exit_code == 0, "no branch is checked out, but it is known where it was to go"
    assert world.at == (newer, "next")
    assert world.asked() == ["stead up"]
    world.run("--back")
    assert world.at == (first, "main")


def _dies(_self):
    raise SystemError


def test_one_that_was_killed_may_go_elsewhere_and_still_leads_back_to_where_it_began(world, monkeypatch):
    before = world.at
    git(world.place, "checkout", "--quiet", "-b", "third", "next")
    third = world.commit("r3")
    git(world.place, "checkout", "--quiet", "main")
    with monkeypatch.context() as patched:
        patched.setattr(upgrade._Upgrade, "_start", _dies)
        world.run("next")
    assert world.run("third").exit_code == 0
    assert world.at == (third, "third")
    world.asked()
    assert world.run("--back").exit_code == 0
    assert world.at == before
    assert "controller database downgrade --when-free r1" in world.asked()


def test_after_one_that_is_done_the_next_is_what_was_fetched(world):
    """And not the same once more, as of one that was killed."""
    world.run("next")
    assert "the branch next follows no other one" in world.run().output


def test_what_is_checked_out_already_and_does_not_start_is_left(world):
    (world.place / "stead").write_text("#!/bin/sh\nexit 1\n")
    broken = commit(world.place, "broken")
    git(world.place, "checkout", "--quiet", "--detach")
    done = world.run("main")
    assert (done.exit_code, "`stead up` failed" in done.output, world.at) == (1, True, (broken, ""))
    assert world.asked() == []


def test_what_is_checked_out_already_is_started_and_the_way_back_stays(world):
    first = world.at[0]
    world.run("next")
    world.asked()
    assert world.run("next").exit_code == 0
    assert world.asked() == ["stead up"]
    world.run("--back")
    assert world.at[0] == first


def test_who_moved_the_checkout_by_hand_cannot_go_back(world):
    world.run("next")
    git(world.place, "checkout", "--quiet", "main")
    done = world.run("--back")
    assert (done.exit_code, "nothing says what ran here before" in done.output) == (1, True)


def test_a_host_of_another_machines_cloud_joins_anew(world, monkeypatch):
    chosen = settings.load()
    monkeypatch.setattr(settings, "load", lambda _environment: replace(chosen, controller_address="192.0.2.1"))
    monkeypatch.setattr(processes, "find", lambda program: 1 if program.name == "agent" else None)
    assert world.run("next").exit_code == 0
    assert world.asked() == ["stead join 192.0.2.1"]
    assert world.run("--back").exit_code == 0
    assert world.asked() == ["stead join 192.0.2.1"], "it has no database"


def test_a_controller_that_is_no_host_stays_one(world, monkeypatch):
    monkeypatch.setattr(enrolment, "is_enrolled", lambda _chosen: False)
    assert world.run("next").exit_code == 0
    assert world.asked()[-1] == "stead up --no-host"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("next", "--back"), "--back takes neither commit nor file"),
        (("elsewhere",), "has no commit, tag or branch elsewhere"),
        ((), "the branch main follows no other one"),
    ],
)
def test_what_is_refused_changes_nothing(world, words, said):
    before = world.at
    done = world.run(*words)
    assert (done.exit_code, said in done.output) == (1, True)
    assert (world.at, world.asked()) == (before, [])


def test_changed_files_another_upgrade_and_a_cloud_that_is_down_are_refused(world, monkeypatch):
    with (world.state / "run" / "upgrade.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "another upgrade goes on here" in world.run("next").output
    (world.place / "release").write_text("changed")
    assert "not as they were committed: release" in world.run("next").output
    git(world.place, "checkout", "--quiet", "release")
    with monkeypatch.context() as patched:
        patched.setattr(processes, "find", lambda _program: None)
        assert "Stead does not run on this machine: no controller" in world.run("next").output
    (world.state / cloud.RIG_FILE).touch()
    assert "is a rig" in world.run("next").output
    monkeypatch.setattr(cloud, "require_root", _refuses)
    assert "an upgrade needs root" in world.run("next").output
    assert world.asked() == []
    assert world.at[1] == "main"


def _refuses(what):
    raise CliError(f"{what} needs root")
