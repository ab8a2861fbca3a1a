"""What `ansible/` refuses of an inventory, in words and before it asks any machine."""

import json
import subprocess

import pytest

from tests.support.processes import ROOT, clean_environment

DATABASE = {"stead_database_url": "postgresql+psycopg://db.internal/stead"}
BUCKETS = {"stead_object_endpoint": "https://buckets.internal"}
BLOCKS = {"stead_block_bucket": "blocks", "stead_block_endpoint": "https://blocks.internal"}


@pytest.mark.client("ansible")
@pytest.mark.parametrize(
    ("shared", "says"),
    [
        ({}, "share a database"),
        (DATABASE, "share the blocks"),
        (DATABASE | BLOCKS, "share the buckets"),
        (DATABASE | BLOCKS | BUCKETS, "share the engine of metrics"),
        (DATABASE | BLOCKS | BUCKETS | {"stead_metrics_endpoint": "https://metrics.internal"}, ""),
    ],
    ids=["no database", "no blocks", "no buckets", "no metrics", "all that they share"],
)
def test_several_controllers(client, tmp_path, shared, says):
    hosts = {name: {"ansible_host": f"192.0.2.{number}"} for number, name in enumerate(("one", "two"), 1)}
    groups = {"controller": {"hosts": hosts}, "agents": {"hosts": {}}}
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {"children": groups, "vars": shared}}))
    programs = client / "venv/bin"
    done = subprocess.run(
        [programs / "ansible-playbook", f"--inventory={inventory}", ROOT / "ansible" / "check.yml"],
        cwd=ROOT / "ansible",
        env=clean_environment(HOME=str(tmp_path), PATH=f"{programs}:/usr/bin:/bin", ANSIBLE_LOCALHOST_WARNING="False"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode == 0) == (says == ""), done.stdout + done.stderr
    assert says in done.stdout
