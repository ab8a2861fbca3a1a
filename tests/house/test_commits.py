"""Commits that say what and why: a short subject, and a body."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import pytest

from tests.house.checkout import ROOT, complain

SUBJECT_LETTERS: Final = 72
SINCE: Final = datetime(2026, 11, 28, 3, 45, tzinfo=UTC)  # what was written before has subjects of any length


@dataclass(frozen=True)
class Commit:
    """One commit: its short id, when it was written first, and its message."""

    name: str
    written: datetime
    subject: str
    body: str


def test_commits_have_a_short_subject_and_a_body() -> None:
    offences = [f"{commit.name}: {fault}" for commit in _commits() for fault in _faults_of(commit)]
    complain("The subject says what changed, at one glance; the body says why:", offences)


@pytest.mark.parametrize(
    ("subject", "body", "faults"),
    [
        ("x" * SUBJECT_LETTERS, "Because.", 0),
        ("x" * (SUBJECT_LETTERS + 1), "Because.", 1),
        ("docs: a page", "", 1),
        ("x" * (SUBJECT_LETTERS + 1), " \n", 2),
    ],
)
def test_what_is_asked_of_a_commit(subject: str, body: str, faults: int) -> None:
    assert len(_faults_of(Commit("1234567", SINCE, subject, body))) == faults


def test_commits_from_before_are_left_alone() -> None:
    assert _is_asked(Commit("1234567", SINCE, "", ""))
    assert not _is_asked(Commit("1234567", datetime(2026, 11, 28, 3, 44, tzinfo=UTC), "", ""))


def _faults_of(commit: Commit) -> list[str]:
    if not _is_asked(commit):
        return []
    faults = []
    if len(commit.subject) > SUBJECT_LETTERS:
        faults.append(f"the subject has {len(commit.subject)} letters, {SUBJECT_LETTERS} allowed: {commit.subject}")
    if not commit.body.strip():
        faults.append(f"no body: {commit.subject}")
    return faults


def _is_asked(commit: Commit) -> bool:
    return commit.written >= SINCE


def _commits() -> list[Commit]:
    """All commits that this checkout has the history of; a shallow clone has the last ones, an archive none."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("a checkout without its history")
    environment = {name: value for name, value in os.environ.items() if name not in {"GIT_DIR", "GIT_WORK_TREE"}}
    asked = ["log", "--no-merges", f"--since={SINCE.isoformat()}", "--format=%h%x00%at%x00%s%x00%b%x1e"]
    # The checkout may be another user's than who runs the tests.
    done = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, *asked],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    commits = []
    for record in done.stdout.split("\x1e"):
        if record.strip():
            name, written, subject, body = record.strip("\n").split("\0", 3)
            commits.append(Commit(name, datetime.fromtimestamp(int(written), UTC), subject, body))
    return commits
