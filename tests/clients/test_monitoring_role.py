"""The role `monitoring` writes a configuration that Prometheus takes, and that names the pages of all machines."""

import json
import subprocess

import pytest

from tests.support import outside_clients
from tests.support.processes import ROOT, clean_environment

pytestmark = [pytest.mark.client("ansible"), pytest.mark.client("prometheus")]

_RULES = (ROOT / "ansible/roles/monitoring/files/stead.rules.yml").read_text()
_PLAY = [
    {
        "hosts": "monitoring",
        "gather_facts": False,
        "connection": "local",
        "tasks": [
            {"include_vars": str(ROOT / "ansible/roles/monitoring/defaults/main.yml")},
            {
                "template": {
                    "src": str(ROOT / "ansible/roles/monitoring/templates/prometheus.yml.j2"),
                    "dest": "{{ place }}",
                }
            },
        ],
    }
]


@pytest.fixture
def rendered(tmp_path):
    """Write the configuration of a rack with further variables; gives what promtool says of it, and its text."""
    for name in ("ansible", "prometheus"):
        if why := outside_clients.why_missing(name):
            pytest.skip(why)
    (tmp_path / "play.yml").write_text(json.dumps(_PLAY))
    (tmp_path / "stead.rules.yml").write_text(_RULES)

    def render(**variables):
        hosts = {f"rack-{number}": {"ansible_host": f"192.0.2.{number}"} for number in (1, 2, 3)}
        groups = {"controller": ["rack-1"], "agents": ["rack-2", "rack-3"], "monitoring": ["rack-1"]}
        inventory = {
            "all": {
                "hosts": hosts,
                "children": {name: {"hosts": dict.fromkeys(members)} for name, members in groups.items()},
            }
        }
        (tmp_path / "inventory.json").write_text(json.dumps(inventory))
        given = json.dumps(variables | {"place": str(tmp_path / "prometheus.yml")})
        ansible = outside_clients.folder_of("ansible") / "venv/bin/ansible-playbook"
        _run(tmp_path, ansible, "--inventory=inventory.json", f"--extra-vars={given}", "play.yml")
        text = (tmp_path / "prometheus.yml").read_text()
        # The rules are beside it here.
        (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/", ""))
        promtool = outside_clients.folder_of("prometheus") / "debian/usr/bin/promtool"
        return _run(tmp_path, promtool, "check", "config", "prometheus.yml"), text

    return render


def _run(folder, *command):
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(HOME=str(folder), ANSIBLE_NOCOLOR="1"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_machine_is_watched(rendered):
    said, text = rendered(stead_agent_page=9565)
    assert f"{_RULES.count('- alert: ')} rules found" in said
    targets = [line.split('"')[1] for line in text.splitlines() if "targets:" in line]
    assert targets == ["192.0.2.1:9464", "192.0.2.2:9565", "192.0.2.3:9565"]
    assert "alertmanagers" not in text


def test_alerts_are_sent_on(rendered):
    _, text = rendered(monitoring_alertmanagers=["192.0.2.20:9093", "192.0.2.21:9093"])
    assert '- targets: ["192.0.2.20:9093", "192.0.2.21:9093"]' in text
