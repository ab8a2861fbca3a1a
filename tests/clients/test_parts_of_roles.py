"""What roles do first: they leave alone what an operator has configured."""

import json
import re
import subprocess

import pytest

from tests.support import outside_clients
from tests.support.processes import ROOT, clean_environment

pytestmark = pytest.mark.client("ansible")

_ROLES = ROOT / "ansible/roles"
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
    """Run these parts on machines as they may be; gives how many tasks failed on each, and all that Ansible said."""
    if why := outside_clients.why_missing("ansible"):
        pytest.skip(why)
    for name, said in _VERIFIED.items():
        _program(tmp_path / name / "dpkg", said)
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
            "tasks": [task],
        }
        for task, hosts in (
            ({"include_tasks": f"{_ROLES}/monitoring/tasks/refuse.yml"}, _VERIFIED),
            ({"include_tasks": f"{_ROLES}/virtual_address/tasks/refuse.yml"}, _KEEPALIVED),
        )
    ]
    inventory = {"all": {"hosts": dict.fromkeys([*_VERIFIED, *_KEEPALIVED])}}
    (tmp_path / "inventory.json").write_text(json.dumps(inventory))
    (tmp_path / "play.yml").write_text(json.dumps(plays))
    [strategies] = outside_clients.folder_of("ansible").glob(
        "venv/lib/*/site-packages/ansible_mitogen/plugins/strategy"
    )
    mitogen = {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(strategies)}
    done = subprocess.run(
        [
            outside_clients.folder_of("ansible") / "venv/bin/ansible-playbook",
            "--inventory=inventory.json",
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


def _program(path, says):
    """Have a machine's own program say this."""
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\nprintf '%s' '{says}'\n")
    path.chmod(0o755)


def test_configurations_of_others_stay(failed):
    counts, said = failed
    good = dict.fromkeys(("bare", "removed", "empty", "ours"), "0")
    assert counts == good | {"others": "1", "foreign": "1"}, said
    assert said.count('"msg": "This machine') == 2, said
