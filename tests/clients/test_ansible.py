"""Ansible's modules of AWS, unchanged, make the sites of `examples/ansible`, find them as they are, and remove them."""

import re
import shutil

import pytest

from tests.support.own_resources import own_resources
from tests.support.processes import ROOT

SECONDS = 600  # each task is a Python program of a second, or by Mitogen a third of one


@pytest.fixture
def account(own_cloud):
    """An account of a cloud of its own, with an image of the name that the playbooks look for."""
    cloud = own_cloud()
    cloud.add_image("stead-micro-1")
    return cloud.new_account()


@pytest.fixture
def play(account, example, client, tmp_path):
    """A runner of playbooks in a copy of the example: it gives how many tasks changed something.

    Modules run as Ansible itself runs them with `plainly`, else by Mitogen: the same modules, in less than half the time.
    """
    here = tmp_path / "ansible"
    shutil.copytree(ROOT / "examples/ansible", here, ignore=shutil.ignore_patterns("*.pem"))
    environment = {
        "HOME": str(tmp_path),
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
    }
    [strategies] = client.glob("venv/lib/*/site-packages/ansible_mitogen/plugins/strategy")
    mitogen = {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(strategies)}

    def run(playbook, *arguments, plainly=False):
        program = client / "venv/bin/ansible-playbook"
        way = {} if plainly else mitogen
        said = example(account, here, program, playbook, *arguments, seconds=SECONDS, **environment, **way)
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
    assert play(made_by, plainly=made_by == "site.yml") > 10
    assert play(made_by, "--skip-tags=look") == 0
    play(removed_by)
    assert {kind: found for kind, found in own_resources(account).items() if found} == {}
