"""`stead release` makes the same file of the same commit, and all of Stead runs where that alone is installed."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from stead_cli import image_build, release_file
from tests.support import outside_clients
from tests.support.processes import ROOT, clean_environment

pytestmark = pytest.mark.client("release")


@pytest.fixture(scope="module")
def wheels() -> Path:
    if why := outside_clients.why_missing("release"):
        pytest.skip(why)
    return outside_clients.folder_of("release") / "wheels"


@pytest.fixture(scope="module")
def made(wheels, tmp_path_factory) -> Path:
    return release_file.make(ROOT, tmp_path_factory.mktemp("release"), wheels, allow_dirty=True)


@pytest.fixture(scope="module")
def installed(made) -> Path:
    """The folder of programs of an environment that has the release alone, as `ansible/` makes it."""
    with tarfile.open(made) as tar:
        tar.extractall(made.parent, filter="tar")
    place = made.with_suffix("")
    run("/usr/bin/python3", "-m", "venv", place / ".venv")
    wheels = ("--no-index", f"--find-links={place}", f"--find-links={place / 'wheels'}", "--no-compile")
    run(place / ".venv/bin/pip", "install", "-q", *wheels, f"--requirement={place / 'requirements.txt'}")
    return place / ".venv/bin"


def run(*command: str | Path, **environment: str) -> str:
    """Run a command from elsewhere, without this checkout on any path."""
    clean = clean_environment(**environment)
    clean.pop("PYTHONPATH", None)
    done = subprocess.run(
        [str(word) for word in command], cwd="/", env=clean, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_same_files_give_the_same_bytes(made, wheels, tmp_path):
    """Whatever umask the second has, and whenever it is made."""
    before = os.umask(0o077)
    try:
        again = release_file.make(ROOT, tmp_path, wheels, allow_dirty=True)
    finally:
        os.umask(before)
    assert again.name == made.name
    assert again.read_bytes() == made.read_bytes()


def test_the_programs_run_without_the_checkout(installed, tmp_path):
    commit = run("git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "rev-parse", "HEAD").strip()
    assert run(installed / "stead", "version").startswith(f"stead 0.1.0 (commit {commit}")
    assert run(installed / "stead", "--version") == run(installed / "stead", "version")
    assert "Commands:" in run(installed / "stead-agent", "--help")
    where = run(
        installed / "python", "-c", "import stead_agent.real_host as a, stead_cli as c; print(a.__file__, c.__file__)"
    )
    assert [Path(one).is_relative_to(installed.parent) for one in where.split()] == [True, True]
    # Migrations, AWS's models, types and prices: a cloud's state is made, of a new database.
    run(installed / "stead-controller", "init", f"--state-dir={tmp_path / 'controller'}")
    assert (tmp_path / "controller" / "credentials.json").exists()


def test_it_has_the_recipes_of_images(installed):
    """All files of them, where a build finds them; the builds themselves are tested from the checkout."""
    code = """
from stead_cli import image_build
for kind in image_build.KINDS:
    print(image_build._recipe_hash(kind))
    image_build._python(["-c", f"from images.{kind} import build; build.APT_PACKAGES"], capture=False)
"""
    said = run(installed / "python", "-c", code).split()
    assert said == [image_build._recipe_hash(kind) for kind in image_build.KINDS]


def test_what_needs_a_checkout_says_so(installed):
    done = subprocess.run(
        [installed / "stead", "release"], cwd="/", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "this is none" in done.stderr
