"""A checkout of another user's, in a path with a space below /tmp, made and used by root with a strict umask: all works."""

import hashlib
import os
import shutil
import subprocess
import sysconfig
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import stock_kernel
from tests.support.processes import ROOT, clean_environment

_OWNER = 1234
_NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis")


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """The files of this checkout with an environment of its own, which takes its libraries from ours: none is installed."""
    with tempfile.TemporaryDirectory(prefix="stead of a person ", dir="/tmp") as folder:
        root = Path(folder) / "a checkout"
        before = os.umask(0o077)
        try:
            shutil.copytree(ROOT, root, ignore=_NOT_COPIED, symlinks=True)
            _make_environment(root)
        finally:
            os.umask(before)
        subprocess.run(["chown", "-R", f"{_OWNER}:{_OWNER}", folder], check=True)
        yield root


def _make_environment(root: Path) -> None:
    environment = root / ".venv"
    venv.create(environment, symlinks=True)
    [packages] = environment.glob("lib/*/site-packages")
    ours = [root / name for name in ("controller", "agent", "proto", "cli")]
    (packages / "all.pth").write_text("\n".join(map(str, [*ours, sysconfig.get_path("purelib")])))
    for name in ("stead", "stead-controller", "stead-agent"):
        program = environment / "bin" / name
        module = "stead_cli" if name == "stead" else name.replace("-", "_")
        program.write_text(f"#!/bin/bash\nexec '{environment}/bin/python' -m {module} \"$@\"\n")
        program.chmod(0o755)
    content = b"".join((root / name).read_bytes() for name in ("pyproject.toml", "constraints.txt"))
    stamp = f"extras=controller,agent,cli,dev root={root}\n{hashlib.sha256(content).hexdigest()}  -\n"
    (environment / "stead-stamp").write_text(stamp)


def run(checkout: Path, *command: str | Path) -> str:
    """Run a command as root does with a strict umask, from somewhere else; give what it says."""
    done = subprocess.run(
        command,
        cwd="/",
        env=clean_environment(STEAD_TEST_RESULTS=str(checkout.parent), PYTHONPATH=str(checkout)),
        umask=0o077,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_launcher_works_and_leaves_nothing_that_is_not_the_owners(checkout: Path) -> None:
    assert run(checkout, checkout / "stead", "version").startswith("stead ")
    assert "Commands:" in run(checkout, checkout / "stead", "--help")
    tests = ("tests/unit/cli/test_units.py", "tests/unit/cli/test_processes.py")
    assert " passed" in run(checkout, checkout / "stead", "test", "-q", *(str(checkout / each) for each in tests))
    assert list(checkout.rglob("__pycache__")), "nothing was made there"
    not_theirs = [path for path in checkout.rglob("*") if path.lstat().st_uid != _OWNER]
    assert not_theirs == []


@pytest.mark.guest
def test_a_guest_with_a_stock_kernel_sees_it(checkout: Path) -> None:
    if not stock_kernel.has_programs():
        pytest.skip("virtiofsd is not installed")
    code = """
from tests.support import stock_kernel
ended = stock_kernel.run("pwd; .venv/bin/python -c 'import stead_agent; print(stead_agent.__path__)'", disk=1 << 20)
print(ended.output)
raise SystemExit(ended.status)
"""
    said = run(checkout, checkout / ".venv" / "bin" / "python", "-c", code).splitlines()
    assert str(checkout) in said
    assert [line for line in said if str(checkout / "agent" / "stead_agent") in line]
