"""ansible-lint, with all that its profile for production asks for, finds nothing in the playbooks and roles of `ansible/`."""

import shutil
import subprocess

import pytest

from tests.support.processes import ROOT, clean_environment


@pytest.mark.client("ansible-lint")
@pytest.mark.timeout(300)
def test_it_finds_nothing(client, tmp_path):
    copy = tmp_path / "ansible"
    shutil.copytree(ROOT / "ansible", copy)
    programs = client / "venv/bin"
    done = subprocess.run(
        [programs / "ansible-lint", "--offline", "--nocolor"],
        cwd=copy,
        env=clean_environment(HOME=str(tmp_path), PATH=f"{programs}:/usr/bin:/bin"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    assert "Profile 'production' was required, and it passed" in done.stderr
