"""`remove-host.yml` refuses at once what could not leave: it would wait for an hour, and then fail."""

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import outside_clients
from tests.support.processes import ROOT, clean_environment

pytestmark = pytest.mark.client("ansible")

# In the place of `stead`: it says what it is told to, and notes what else it was asked for.
_STEAD = """#!/bin/sh
cd "$(dirname "$0")"
case "$2" in
list) cat list.json ;;
show) cat show.json ;;
*) echo "$*" >>asked; exit 1 ;;
esac
"""


def _host(host_id: str, **others: Any) -> dict[str, Any]:
    return {"host_id": host_id, "hostname": "another", "zone": "a", "state": "up", "uses": [], **others}


@pytest.fixture
def removes(tmp_path: Path) -> Any:
    """Run the playbook on this machine, up to where it would drain the host; gives whether it did, and what it said."""
    if why := outside_clients.why_missing("ansible"):
        pytest.skip(why)
    program = tmp_path / "stead"
    program.write_text(_STEAD)
    program.chmod(0o755)
    (tmp_path / "inventory").write_text("[controller]\nhere ansible_connection=local\n")

    def run(uses: dict[str, str], *others: dict[str, Any]) -> tuple[bool, str]:
        ours = _host(
            "h-1", hostname=socket.gethostname(), uses=[{"id": each, "state": state} for each, state in uses.items()]
        )
        (tmp_path / "list.json").write_text(json.dumps([ours, *others]))
        (tmp_path / "show.json").write_text(json.dumps(ours))
        asked = tmp_path / "asked"
        asked.unlink(missing_ok=True)
        done = subprocess.run(
            [
                outside_clients.folder_of("ansible") / "venv/bin/ansible-playbook",
                "--inventory=inventory",
                "--extra-vars=host=here",
                ROOT / "ansible/remove-host.yml",
            ],
            cwd=tmp_path,
            env=clean_environment(HOME=str(tmp_path), ANSIBLE_NOCOLOR="1", PATH=f"{tmp_path}:/usr/bin:/bin"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 2, done.stdout + done.stderr
        return asked.exists() and asked.read_text() == "host drain h-1 --stop --no-wait --output json\n", done.stdout

    return run


def test_a_host_that_nothing_could_leave_is_refused_at_once(removes: Any) -> None:
    others = (_host("h-2", zone="b"), _host("h-3", state="down"))
    ending = {"i-3": "shutting-down", "vol-4": "deleting", "vol-5": "removing"}
    drained, said = removes({"i-1": "running", "vol-2": "in-use", **ending}, *others)
    assert not drained
    assert "No other host of a is up, so these could go nowhere: i-1, vol-2." in " ".join(said.split())
    assert removes({"i-1": "stopped"}, *others, _host("h-4"))[0]
    assert removes(ending, *others)[0], "these leave by themselves"
