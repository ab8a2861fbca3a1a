"""What a release is made of: committed files, under the name of their commit."""

import subprocess

import pytest

from stead_cli import launcher, release_file
from stead_cli.errors import CliError

TIME = 1_800_000_000


@pytest.fixture
def checkout(tmp_path):
    """A repository with one commit of TIME, and a file that git ignores."""
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    (tmp_path / "program").write_text("#!/bin/sh\n")
    (tmp_path / ".gitignore").write_text("build/\n")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "old.tar").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    return tmp_path


def git(folder, *words):
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "core.hooksPath=/dev/null")
    dates = {"GIT_AUTHOR_DATE": f"{TIME} +0000", "GIT_COMMITTER_DATE": f"{TIME} +0000", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["git", *who, *words], cwd=folder, env=dates, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_it_is_named_by_version_and_commit(checkout):
    commit = git(checkout, "rev-parse", "HEAD")
    source = release_file.read(checkout, allow_dirty=False)
    assert (source.commit, source.time, source.name) == (commit, TIME, f"stead-1.2.3-{commit[:12]}")
    assert source.files == (".gitignore", "program", "pyproject.toml")


@pytest.mark.parametrize("change", ["program", "another"])
def test_what_is_not_committed_is_refused_unless_allowed(checkout, change):
    (checkout / change).write_text("new")
    with pytest.raises(CliError, match=f"not committed: {change}$"):
        release_file.read(checkout, allow_dirty=False)
    source = release_file.read(checkout, allow_dirty=True)
    commit = git(checkout, "rev-parse", "HEAD")
    assert (source.commit, source.name) == (f"{commit}-dirty", f"stead-1.2.3-{commit[:12]}-dirty")
    assert change in source.files


def test_a_file_that_was_removed_is_not_in_it(checkout):
    (checkout / "program").unlink()
    assert "program" not in release_file.read(checkout, allow_dirty=True).files


def test_three_of_many_changes_are_named(checkout):
    for name in "abcd":
        (checkout / name).write_text("")
    with pytest.raises(CliError, match=r"committed: a, b, c …$"):
        release_file.read(checkout, allow_dirty=False)


def test_without_history_there_is_none(tmp_path):
    with pytest.raises(CliError, match="has no history"):
        release_file.read(tmp_path, allow_dirty=True)


def test_what_is_installed_has_no_launcher(monkeypatch, tmp_path):
    monkeypatch.setattr(launcher, "SHIPPED", tmp_path)
    with pytest.raises(CliError, match="`stead test` needs a checkout"):
        launcher.run("test")


@pytest.mark.parametrize("said", ["true", "false"])
def test_uv_trusts_what_the_machine_trusts_unless_it_is_told_otherwise(tmp_path, monkeypatch, said):
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\necho "certificates-$UV_SYSTEM_CERTS==1"\n')
    uv.chmod(0o755)
    monkeypatch.setattr(release_file, "_program", lambda _name: uv)
    monkeypatch.delenv("UV_SYSTEM_CERTS", raising=False)
    if said == "false":
        monkeypatch.setenv("UV_SYSTEM_CERTS", said)
    pins = "".join(f"certificates-{each}==1 \\\n    --hash=sha256:00\n" for each in ("true", "false"))
    found = release_file._pins(tmp_path, pins, ["-"])
    assert found == f"certificates-{said}==1 \\\n    --hash=sha256:00\n"
