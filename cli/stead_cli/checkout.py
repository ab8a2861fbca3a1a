"""The checkout that Stead runs from: which commit it is at, and moving it to another one (gitrevisions(7))."""

import os
import pwd
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead_cli.errors import CliError

_SECONDS: Final = 300.0
_HASH: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Version:
    """What may run: a commit, with the branch that is to be checked out with it, if any; or an installed release."""

    name: str  # a commit's hash, or the name of a release's folder
    branch: str = ""

    @property
    def short(self) -> str:
        """What people read."""
        return self.name[:12] if _HASH.fullmatch(self.name) else self.name


@dataclass(frozen=True, slots=True)
class Checkout:
    """A git checkout, which may be another user's: git runs as its owner, so that it stays theirs."""

    root: Path

    @property
    def launcher(self) -> Path:
        """What starts the programs of what is checked out, and installs what they need."""
        return self.root / "stead"

    def programs_of(self, _name: str) -> Path:
        """The folder of the programs, of whatever is checked out."""
        return self.root / ".venv/bin"

    def present(self) -> Version:
        """Return what is checked out; raises CliError where this is no checkout."""
        top = self._asked("rev-parse", "--show-toplevel")
        if top is None or Path(top).resolve() != self.root.resolve():
            raise CliError(f"{self.root} is no git checkout", "git clone one, and run `./stead up` there")
        return Version(self._must("rev-parse", "HEAD"), self._asked("symbolic-ref", "--quiet", "--short", "HEAD") or "")

    def require_clean(self) -> None:
        """Raise CliError where files of the checkout are not as they were committed."""
        changed = self._must("status", "--porcelain", "--untracked-files=no").splitlines()
        if changed:
            named = ", ".join(line[3:] for line in changed[:3]) + (" …" if len(changed) > 3 else "")
            raise CliError(f"these files are not as they were committed: {named}", "git commit, or git restore them")

    def find(self, name: str) -> Version:
        """Return the commit of a name that is newer than what is checked out, or has another history.

        Without a name it is what the upstream of the branch was at the last `git fetch`. Raises CliError.
        """
        present = self.present()
        found = self._named(name) if name else self._upstream(present)
        if found.name != present.name and self.is_before(found.name, present.name):
            raise CliError(f"{found.short} is older than {present.short}", "to what ran before: ./stead upgrade --back")
        return found

    def former(self) -> None:
        """Only a note says what ran before."""

    def is_before(self, one: str, other: str) -> bool:
        """Tell whether a commit is among those that another one builds on, or is that one."""
        return self._asked("merge-base", "--is-ancestor", one, other) is not None

    def move(self, commit: str) -> None:
        """Bring all files to a commit, on no branch yet; raises CliError, and changes nothing, where git refuses."""
        self._must("checkout", "--quiet", "--detach", commit)

    def settle(self, commit: Version, *, moves: bool = True) -> None:
        """Have the branch of a commit, if any, checked out, once the files are there; one elsewhere `moves`, or not."""
        if commit.branch and (moves or self._asked("rev-parse", f"refs/heads/{commit.branch}") == commit.name):
            ref = f"refs/heads/{commit.branch}"
            self._must("update-ref", "-m", "stead upgrade", ref, commit.name)
            self._must("symbolic-ref", "-m", "stead upgrade", "HEAD", ref)

    def forget_others(self, *_names: str) -> None:
        """Keep all commits: git has them."""

    def _named(self, name: str) -> Version:
        found = self._asked("rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
        if found is None:
            raise CliError(f"the checkout has no commit, tag or branch {name}", "fetch it before: git fetch --tags")
        is_branch = self._asked("show-ref", "--verify", "--quiet", f"refs/heads/{name}") is not None
        return Version(found, name if is_branch else "")

    def _upstream(self, present: Version) -> Version:
        if not present.branch:
            raise CliError("no branch is checked out", "name a commit, tag or branch: ./stead upgrade main")
        found = self._asked("rev-parse", "--quiet", "--verify", "@{upstream}")
        if found is None:
            raise CliError(f"the branch {present.branch} follows no other one", "name a commit, tag or branch")
        if not self.is_before(present.name, found):
            raise CliError(
                f"the branch {present.branch} has commits that its upstream has not",
                "git rebase it, and name it: ./stead upgrade BRANCH",
            )
        return Version(found, present.branch)

    def _must(self, *words: str) -> str:
        done = self._git(*words)
        if done.returncode != 0:
            raise CliError(f"git {words[0]}: {done.stderr.strip()[-1000:]}")
        return done.stdout.rstrip("\n")

    def _asked(self, *words: str) -> str | None:
        done = self._git(*words)
        return done.stdout.rstrip("\n") if done.returncode == 0 else None

    def _git(self, *words: str) -> "subprocess.CompletedProcess[str]":
        owner = self.root.stat()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        is_other = os.geteuid() != owner.st_uid
        if is_other:
            environment["HOME"] = pwd.getpwuid(owner.st_uid).pw_dir  # root's settings are not for their eyes
        try:
            return subprocess.run(
                ["git", "-c", f"safe.directory={self.root}", "-C", str(self.root), *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
                user=owner.st_uid if is_other else None,
                group=owner.st_gid if is_other else None,
                extra_groups=[] if is_other else None,
            )
        except FileNotFoundError as error:
            raise CliError("git is not installed", "apt-get install git") from error
