"""The roles `monitoring` and `virtual_address` leave alone what an operator has configured, and take what an uninstall left."""

import json
import re
import subprocess

import pytest

from tests.support import outside_clients
from tests.support.processes import ROOT, clean_environment

pytestmark = pytest.mark.client("ansible")

_CONFIGURATION = "c /etc/prometheus/prometheus.yml"
_VERIFIED = {  # what `dpkg --verify prometheus` says
    "bare": "",
    "removed": f"missing   c /etc/default/prometheus\nmissing   {_CONFIGURATION}\n",
    "others": f"??5?????? c /etc/default/prometheus\n??5?????? {_CONFIGURATION}\n",
}
_KEEPALIVED = {
    "empty": (),
    "ours": ("keepalived.conf", "stead-controller-serves"),
    "foreign": ("keepalived.conf",),
}


@pytest.fixture
def failed(tmp_path):
    """Run what each role does first, on machines as they may be; gives how many tasks failed on each."""
    if why := outside_clients.why_missing("ansible"):
        pytest.skip(why)
    for name, said in _VERIFIED.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "dpkg").write_text(f"#!/bin/sh\nprintf '%s' '{said}'\n")
        (tmp_path / name / "dpkg").chmod(0o755)
    for name, files in _KEEPALIVED.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
    own = f"{tmp_path}/{{{{ inventory_hostname }}}}"
    plays = [
        {
            "hosts": list(hosts),
            "gather_facts": False,
            "connection": "local",
            "environment": {"PATH": f"{own}:/usr/bin:/bin"},
            "vars": {"virtual_address_folder": own},
            "tasks": [{"include_tasks": str(ROOT / f"ansible/roles/{role}/tasks/refuse.yml")}],
        }
        for role, hosts in (("monitoring", _VERIFIED), ("virtual_address", _KEEPALIVED))
    ]
    (tmp_path / "play.yml").write_text(json.dumps(plays))
    [strategies] = outside_clients.folder_of("ansible").glob(
        "venv/lib/*/site-packages/ansible_mitogen/plugins/strategy"
    )
    mitogen = {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(strategies)}
    done = subprocess.run(
        [
            outside_clients.folder_of("ansible") / "venv/bin/ansible-playbook",
            f"--inventory={','.join([*_VERIFIED, *_KEEPALIVED])},",
            "play.yml",
        ],
        cwd=tmp_path,
        env=clean_environment(HOME=str(tmp_path), ANSIBLE_NOCOLOR="1", **mitogen),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return dict(re.findall(r"^(\w+) +: ok=\d.* failed=(\d)", done.stdout, re.MULTILINE)), done.stdout


def test_configurations_of_others_stay(failed):
    counts, said = failed
    assert counts == {"bare": "0", "removed": "0", "others": "1", "empty": "0", "ours": "0", "foreign": "1"}, said
    assert said.count('"msg": "This machine') == 2, said
