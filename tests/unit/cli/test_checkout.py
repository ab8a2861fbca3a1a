"""The checkout that Stead runs from: what it is at, what is newer, and how it gets there."""

import os
import pwd
import shutil
import tempfile
from pathlib import Path

import pytest

from stead_cli.checkout import Checkout, Version
from stead_cli.errors import CliError
from tests.support.copied_checkout import commit, git


@pytest.fixture
def place(tmp_path):
    """A repository with three commits on `main`, of which an upstream repository has one more."""
    upstream = tmp_path / "upstream"
    upstream.mkdir()
    git(upstream, "init", "--quiet", "--initial-branch=main")
    for number in "12":
        _write(upstream, number)
    git(tmp_path, "clone", "--quiet", str(upstream), "place")
    _write(upstream, "3")
    git(tmp_path / "place", "fetch", "--quiet")
    return tmp_path / "place"


def _write(folder, text, name="file"):
    (folder / name).write_text(text)
    return commit(folder, text)


def _at(place, name):
    return git(place, "rev-parse", name)


def test_what_is_checked_out(place):
    assert Checkout(place).present() == Version(_at(place, "main"), "main")
    git(place, "checkout", "--quiet", "--detach")
    assert Checkout(place).present() == Version(_at(place, "main"))


def test_a_folder_of_a_checkout_is_none(place):
    (place / "inside").mkdir()
    with pytest.raises(CliError, match="is no git checkout"):
        Checkout(place / "inside").present()
    with tempfile.TemporaryDirectory() as outside, pytest.raises(CliError, match="is no git checkout"):
        Checkout(Path(outside)).present()


def test_files_that_are_not_committed_are_named_and_unknown_ones_are_nobodys(place):
    (place / "new").write_text("")
    Checkout(place).require_clean()
    (place / "file").write_text("changed")
    with pytest.raises(CliError, match=r"as they were committed: file$"):
        Checkout(place).require_clean()
    for number in range(4):
        (place / f"n{number}").write_text("")
    git(place, "add", "--all")
    with pytest.raises(CliError, match=r"committed: file, n0, n1 …$"):
        Checkout(place).require_clean()
    for number in (1, 2, 3):
        git(place, "rm", "--quiet", "--force", f"n{number}")
    git(place, "rm", "--quiet", "--force", "new")
    with pytest.raises(CliError, match=r"committed: file, n0$"):
        Checkout(place).require_clean()


def test_a_repository_that_the_environment_names_is_another_one(place, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(place.parent / "upstream" / ".git"))
    assert Checkout(place).present() == Version(_at_without(place), "main")


def _at_without(place):
    return (place / ".git" / "refs" / "heads" / "main").read_text().strip()


def test_without_a_name_it_is_what_was_fetched_of_the_branch(place):
    assert Checkout(place).find("") == Version(_at(place, "origin/main"), "main")
    git(place, "merge", "--quiet", "origin/main")
    assert Checkout(place).find("") == Checkout(place).present(), "nothing is newer"


def test_without_a_branch_or_its_upstream_a_name_is_wanted(place):
    git(place, "checkout", "--quiet", "-b", "alone")
    with pytest.raises(CliError, match="the branch alone follows no other one"):
        Checkout(place).find("")
    git(place, "checkout", "--quiet", "--detach")
    with pytest.raises(CliError, match="no branch is checked out"):
        Checkout(place).find("")


def test_an_upstream_that_lacks_commits_of_the_branch_is_refused(place):
    _write(place, "own")
    with pytest.raises(CliError, match="commits that its upstream has not"):
        Checkout(place).find("")


def test_a_name_is_a_commit_a_tag_or_a_branch_that_is_then_checked_out(place):
    newer = _at(place, "origin/main")
    git(place, "tag", "v2", newer)
    git(place, "branch", "next", newer)
    checkout = Checkout(place)
    assert checkout.find(newer[:8]) == checkout.find("v2") == checkout.find("origin/main") == Version(newer)
    assert checkout.find("next") == Version(newer, "next")
    for name in ("v3", "--upload-pack=x", "v2:file"):
        with pytest.raises(CliError, match=f"has no commit, tag or branch {name}"):
            checkout.find(name)


def test_what_is_older_is_refused_and_another_history_is_not(place):
    with pytest.raises(CliError, match="is older than"):
        Checkout(place).find("main~1")
    assert Checkout(place).find("main") == Checkout(place).present()
    git(place, "checkout", "--quiet", "-b", "other", "main~1")
    made = _write(place, "other")
    git(place, "checkout", "--quiet", "main")
    assert Checkout(place).find("other") == Version(made, "other")


def test_it_moves_and_its_branch_follows(place):
    checkout, older = Checkout(place), _at(place, "main")
    newer = checkout.find("")
    (place / "unknown").write_text("somebody's")
    checkout.move(newer.name)
    assert (place / "file").read_text() == "3"
    assert _at(place, "main") == older, "the branch follows when all is well"
    assert checkout.present() == Version(newer.name)
    checkout.settle(newer)
    assert checkout.present() == newer
    checkout.require_clean()
    assert (place / "unknown").read_text() == "somebody's"


def test_what_git_refuses_changes_nothing(place):
    git(place, "checkout", "--quiet", "-b", "next")
    made = _write(place, "x", name="precious")
    git(place, "checkout", "--quiet", "main")
    (place / "precious").write_text("not committed")
    before = Checkout(place).present()
    with pytest.raises(CliError, match=r"git checkout: .*(?s:.)*precious"):
        Checkout(place).move(made)
    assert Checkout(place).present() == before
    assert (place / "precious").read_text() == "not committed"


def test_a_branch_that_has_gone_on_is_left_where_it_is(place):
    checkout, older = Checkout(place), _at(place, "main~1")
    checkout.move(older)
    checkout.settle(Version(older, "main"), moves=False)
    assert checkout.present() == Version(older)
    checkout.move(_at(place, "main"))
    checkout.settle(Version(_at(place, "main"), "main"), moves=False)
    assert checkout.present() == Version(_at(place, "main"), "main")


def test_a_checkout_of_another_user_stays_theirs(place):
    other = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="stead-checkout-", dir="/var/tmp") as open_to_all:
        theirs = Path(open_to_all) / "place"
        shutil.copytree(place, theirs, symlinks=True)
        Path(open_to_all).chmod(0o755)
        for path in (theirs, *theirs.rglob("*")):
            os.chown(path, other.pw_uid, other.pw_gid)
        checkout = Checkout(theirs)
        newer = checkout.find("")
        checkout.move(newer.name)
        checkout.settle(newer)
        assert checkout.present() == newer
        assert {path.stat().st_uid for path in theirs.rglob("*")} == {other.pw_uid}
