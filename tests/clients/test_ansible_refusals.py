"""What `ansible/` refuses of an inventory, in words and before it asks any machine."""

import json
import re
import subprocess

import pytest

from tests.support.processes import ROOT, clean_environment

DATABASE = {"stead_database_url": "postgresql+psycopg://db.internal/stead"}
BUCKETS = {"stead_object_endpoint": "https://buckets.internal"}
BLOCKS = {"stead_block_bucket": "blocks", "stead_block_endpoint": "https://blocks.internal"}
METRICS = {"stead_metrics_endpoint": "https://metrics.internal"}

# Of several controllers in one inventory, each with variables of its own: what one is told that shares no more than these.
CASES = {
    "alone": ({}, "share a database"),
    "database": (DATABASE, "share the blocks"),
    "blocks": (DATABASE | BLOCKS, "share the buckets"),
    "buckets": (DATABASE | BLOCKS | BUCKETS, "share the engine of metrics"),
    "metrics": (DATABASE | BLOCKS | BUCKETS | METRICS, None),
}


@pytest.mark.client("ansible")
def test_several_controllers(client, tmp_path):
    hosts = {name: {"ansible_host": "192.0.2.1", **shared} for name, (shared, _) in CASES.items()}
    groups = {"controller": {"hosts": hosts}, "agents": {"hosts": {}}}
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {"children": groups}}))
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
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    refused = dict(
        re.findall(r"^fatal: \[(\w+)\]: FAILED!(.*?)(?=^fatal|^TASK|^PLAY)", done.stdout, re.MULTILINE | re.DOTALL)
    )
    assert refused.keys() == {name for name, (_, says) in CASES.items() if says}, said
    assert {name: words for name, words in refused.items() if CASES[name][1] not in words} == {}
    assert re.findall(r"^metrics .* failed=0 ", said, re.MULTILINE), said
