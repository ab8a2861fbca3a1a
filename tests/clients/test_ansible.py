"""Ansible's modules of AWS, unchanged, make the sites of `examples/ansible`, find them as they are, and remove them."""

import re
import shutil

import pytest

from tests.support.own_things import own_things
from tests.support.processes import ROOT

SECONDS = 600  # each task is a Python program of a second


@pytest.fixture
def account(own_cloud):
    """An account of a cloud of its own, with an image of the name that the playbooks look for."""
    cloud = own_cloud()
    cloud.add_image("stead-micro-1")
    return cloud.new_account()


@pytest.fixture
def play(account, example, client, tmp_path):
    """A runner of playbooks in a copy of the example: it gives how many tasks changed something."""
    here = tmp_path / "ansible"
    shutil.copytree(ROOT / "examples/ansible", here, ignore=shutil.ignore_patterns("*.pem"))
    environment = {
        "HOME": str(tmp_path),
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
    }

    def run(playbook):
        program = client / "venv/bin/ansible-playbook"
        said = example(account, here, program, playbook, seconds=SECONDS, **environment)
        [(changed, failed)] = re.findall(r"^localhost .*changed=(\d+) .*failed=(\d+)", said, re.MULTILINE)
        assert failed == "0"
        return int(changed)

    return run


@pytest.mark.client("ansible")
@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize(
    ("made_by", "removed_by"), [("site.yml", "teardown.yml"), ("private.yml", "private_teardown.yml")]
)
def test_a_second_run_changes_nothing(account, play, made_by, removed_by):
    assert play(made_by) > 10
    assert play(made_by) == 0
    play(removed_by)
    assert {kind: found for kind, found in own_things(account).items() if found} == {}
