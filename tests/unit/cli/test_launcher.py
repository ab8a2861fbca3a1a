"""The launcher `./stead`: who is made root and how, what it says where that cannot be, which Stead it is, completion."""

import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from stead_cli import test as tests_command
from stead_cli.__main__ import cli
from stead_cli.settings import CHECKOUT

_UNPRIVILEGED_UID = 65534


@pytest.fixture
def place() -> Iterator[Path]:
    """A checkout in a path with a space, that everybody may read: the launcher alone, with nothing installed."""
    with tempfile.TemporaryDirectory(prefix="stead launcher ") as folder:
        Path(folder).chmod(0o755)
        checkout = Path(folder) / "check out"
        checkout.mkdir()
        for name in ("stead", "pyproject.toml", "constraints.txt"):
            shutil.copy(CHECKOUT / name, checkout)
        yield checkout


def run_as_person(place: Path, *arguments: str, sudo: bool, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the launcher as somebody who is not root, where `sudo` tells its arguments, or is not there."""
    programs = place.parent / "programs"
    programs.mkdir()
    # All that the machine has, but not its sudo.
    for folder in ("/usr/sbin", "/usr/bin"):
        for path in Path(folder).iterdir():
            if path.name != "sudo" and not (programs / path.name).exists():
                (programs / path.name).symlink_to(path)
    if sudo:
        (programs / "sudo").write_text('#!/bin/bash\nprintf "%s\\n" "$@"\nenv | grep -c ^STEAD_STATE_DIR= \n')
        (programs / "sudo").chmod(0o755)
    launcher = (place / "stead").read_text()
    # The launcher adds the folders of root's programs, of which one may be sudo's.
    (place / "stead").write_text(re.sub(r"(?m)^PATH=\$PATH:.*$", "", launcher))
    # Not by `user`, for which Python forks in a way in which gRPC, if this process has it, writes to standard error.
    unprivileged = ["setpriv", f"--reuid={_UNPRIVILEGED_UID}", "--clear-groups", "--"] if os.geteuid() == 0 else []
    return subprocess.run(
        [*unprivileged, place / "stead", *arguments],
        env={"PATH": str(programs), "HOME": str(place.parent), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_who_is_not_root_becomes_it_by_sudo_with_what_the_installation_needs(place: Path) -> None:
    pip = place.parent / ".config" / "pip" / "pip.conf"
    pip.parent.mkdir(parents=True)
    pip.write_text("[global]\n")
    given = {"STEAD_STATE_DIR": "/a b", "PIP_INDEX_URL": "https://me:secret@x/", "UV_OFFLINE": "1", "https_proxy": "x"}
    done = run_as_person(place, "demo", "--image", "a b", sudo=True, EDITOR="vi", **given)
    assert done.returncode == 0, done.stderr
    user, stored, *rest = done.stdout.splitlines()
    assert user == "--user=root"
    assert set(stored.removeprefix("--preserve-env=").split(",")) == {*given, "PIP_CONFIG_FILE"}
    assert rest == ["--", str(place / "stead"), "demo", "--image", "a b", "1"]
    assert "secret" not in done.stdout
    assert "by sudo" in done.stderr


def test_with_nothing_to_preserve_sudo_has_no_such_option(place: Path) -> None:
    done = run_as_person(place, "rig", "up", sudo=True)
    assert done.stdout.splitlines()[:2] == ["--user=root", "--"], done.stderr


def test_where_there_is_no_sudo_it_says_how_to_become_root(place: Path) -> None:
    done = run_as_person(place, "demo", "--image", "a b", sudo=False)
    assert done.returncode == 1
    assert "su -" in done.stderr
    command = done.stderr.strip().splitlines()[-1].rpartition("then: ")[2]
    shown = subprocess.run(["bash", "-c", f"printf '%s|' {command}"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"{place}/stead|demo|--image|a b|"


def test_what_is_not_installed_needs_root_whatever_was_asked(place: Path) -> None:
    done = run_as_person(place, "status", sudo=False)
    assert done.returncode == 1
    assert "su -" in done.stderr
    assert done.stderr.strip().endswith(" status")


@pytest.mark.parametrize("arguments", [("version",), ("--version",)])
def test_its_version_is_for_everybody_and_needs_nothing(place: Path, arguments: tuple[str, ...]) -> None:
    done = run_as_person(place, *arguments, sudo=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"stead [0-9.]+\n", done.stdout)


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_the_commit_is_of_this_checkout_for_any_owner(place: Path) -> None:
    def git(folder: Path, *arguments: str) -> str:
        who = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "safe.directory=*"]
        done = subprocess.run(["git", *who, "-C", folder, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def version() -> str:
        done = subprocess.run(
            [place / "stead", "version"], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True
        )
        return done.stdout

    around = place.parent
    git(around, "init", "-q")
    git(around, "commit", "-q", "--allow-empty", "-m", "of something else")
    assert "commit" not in version()
    git(place, "init", "-q")
    git(place, "commit", "-q", "--allow-empty", "-m", "of this")
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", str(_UNPRIVILEGED_UID), place], check=True)
    assert f"(commit {git(place, 'rev-parse', 'HEAD')})" in version()


@pytest.mark.parametrize("first_lines", ["#!{}/bin/python3\n", "#!/bin/sh\n'''exec' '{}/bin/python3' \"$0\" \"$@\"\n"])
def test_an_environment_that_was_moved_with_its_checkout_is_made_anew(place: Path, first_lines: str) -> None:
    """Its python works at any place, and says so; its pip is of the place where it was made."""
    programs = place / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to("/usr/bin/python3")
    [function] = re.findall(r"(?ms)^environment_is_usable\(\) \{.*?^\}", (place / "stead").read_text())

    def is_usable(made_at: Path) -> bool:
        (programs / "pip").write_text(first_lines.format(made_at))
        (programs / "pip").chmod(0o755)
        command = f"{function}; venv=$1; environment_is_usable"
        return subprocess.run(["bash", "-c", command, "-", place / ".venv"], check=False).returncode == 0

    assert is_usable(place / ".venv")
    assert not is_usable(place.parent / "before" / ".venv")


@pytest.mark.parametrize(
    ("failing", "once", "status"), [(3, 3, 0), (4, 4, 1), (2, 1, 1)], ids=["an accident", "too many", "not by itself"]
)
def test_what_failed_beside_others_is_run_once_more_by_itself(
    place: Path, failing: int, once: int, status: int
) -> None:
    """Of the tests that failed, the first `once` fail in their first run only."""
    (place / "test_it.py").write_text(f"""
import pathlib, pytest

@pytest.mark.parametrize("number", range(6))
def test_it(number):
    was_here = pathlib.Path(f"ran-{{number}}")
    again, _ = was_here.exists(), was_here.touch()
    assert number >= {failing} or (again and number < {once})
""")
    python = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-o", "cache_dir=cache", "test_it.py"]
    assert subprocess.run(python, cwd=place, capture_output=True, check=False).returncode == 1
    (place / "ran-5").unlink()
    [function] = re.findall(r"(?ms)^run_failed_again\(\) \{.*?^\}", (place / "stead").read_text())
    command = f"{function}; venv=$1; run_failed_again cache results test_it.py"
    done = subprocess.run(
        ["bash", "-c", command, "-", Path(sys.executable).parents[1]],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    assert not (place / "ran-5").exists(), "what had passed is not run again"
    assert ("FAILED ONCE" in done.stdout) == (status == 0)
    assert (f"{failing} passed" in done.stdout) == (status == 0)


def _commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands(command, (*words, name))
        elif command:
            yield " ".join((*words, name)), command.callback


def test_the_launcher_knows_which_commands_are_for_root() -> None:
    of_root = {name for name, callback in _commands(cli) if "require_root(" in inspect.getsource(callback)}
    [line] = re.findall(r"(?m)^root_commands=\((.*)\)$", (CHECKOUT / "stead").read_text())
    assert {first or second for first, second in re.findall(r'"([^"]+)"|(\S+)', line)} == {*of_root, "test"}


def test_help_is_for_everybody(place: Path) -> None:
    """It gets as far as finding that nothing is installed, which is what needs root then."""
    (place / "stead").write_text((place / "stead").read_text().replace("\nprepare ", "\necho as I am; exit\nprepare "))
    assert run_as_person(place, "rig", "up", "--help", sudo=True).stdout == "as I am\n"


def test_a_shell_completes(tmp_path: Path) -> None:
    script = """
        source <(./stead completion bash)
        complete -p stead >&2
        COMP_WORDS=(./stead de) COMP_CWORD=1; _stead_completion ./stead; echo "${COMPREPLY[@]}"
        COMPREPLY=(); COMP_WORDS=(./stead test --q) COMP_CWORD=2; _stead_completion ./stead; echo "${COMPREPLY[@]}"
        """
    done = subprocess.run(["bash", "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["demo", "--quick"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_scripts_without_errors(shell: str) -> None:
    script = subprocess.run(
        [CHECKOUT / "stead", "completion", shell], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert f"_STEAD_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True, timeout=60)


def test_the_tests_are_run_by_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, ...]] = []
    monkeypatch.setattr(tests_command.launcher, "run", lambda *arguments: called.append(arguments))
    cli.main(["test", "--quick", "--ceph", "-k", "tags", "tests/unit"], standalone_mode=False)
    assert called == [("test", "--ceph", "--quick", "-k", "tags", "tests/unit")]
