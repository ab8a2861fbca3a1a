"""Ansible's modules of AWS, unchanged, make the sites of `examples/ansible`, find them as they are, and remove them.

Where PostgreSQL is installed the cloud has two controllers: the second finds, and removes, what the first has made.
"""

import re
import shutil
from pathlib import Path

import pytest

from tests.support.own_resources import own_resources
from tests.support.processes import ROOT
from tests.support.second_controller import clouds

SECONDS = 600
# Whole programs of a second each, which find endpoint, keys and region in their environment; what they answer is counted.
PLAIN = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - amazon.aws.ec2_key: {name: plain, key_type: ed25519}
    - amazon.aws.ec2_key: {name: plain, key_type: ed25519}
    - amazon.aws.ec2_key: {name: plain, state: absent}
    - amazon.aws.autoscaling_instance_refresh: {name: plain, state: started}
    - amazon.aws.s3_bucket: {name: "plain-{{ account }}", state: present}
    - amazon.aws.s3_bucket: {name: "plain-{{ account }}", state: absent}
"""


@pytest.fixture(scope="module")
def controllers(tmp_path_factory):
    """A cloud of its own, with an image of the name that the playbooks look for: its controllers."""
    with clouds(tmp_path_factory.mktemp("ansible")) as found:
        found[0].add_hosts(1)
        found[0].add_image("stead-micro-1")
        yield found


@pytest.fixture
def account(controllers):
    """An account with nothing in it but what every account has, at the first controller."""
    return controllers[0].new_account()


@pytest.fixture
def ansible(account, example, client, tmp_path):
    """A runner of a program of Ansible in a copy of the example, that gives what it prints."""
    here = tmp_path / "ansible"
    shutil.copytree(ROOT / "examples/ansible", here, ignore=shutil.ignore_patterns("*.pem"))
    environment = {
        "HOME": str(tmp_path),
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
    }

    def run(program, *arguments, **further):
        command = (client / "venv/bin" / program, *arguments)
        return example(account, here, *command, seconds=SECONDS, **environment, **further)

    return run


@pytest.fixture
def play(ansible, client):
    """A runner of playbooks: it gives how many tasks of each changed something.

    Modules run by Mitogen, in one interpreter: the same modules, in a fifth of the time that Ansible itself takes.
    """
    [strategies] = client.glob("venv/lib/*/site-packages/ansible_mitogen/plugins/strategy")
    mitogen = {
        "ANSIBLE_STRATEGY": "mitogen_linear",
        "ANSIBLE_STRATEGY_PLUGINS": str(strategies),
        "PYTHONPATH": str(Path(__file__).parent / "shared_start"),
    }

    def run(*arguments, at):
        said = ansible("ansible-playbook", *arguments, **mitogen, AWS_ENDPOINT_URL=at.endpoint)
        ends = re.findall(r"^localhost .*changed=(\d+) .*failed=(\d+)", said, re.MULTILINE)
        assert {failed for _, failed in ends} == {"0"}
        return [int(changed) for changed, _ in ends]

    return run


@pytest.mark.client("ansible")
@pytest.mark.timeout(SECONDS)
def test_a_second_run_changes_nothing(controllers, account, play):
    """All sites of the example, one after the other: to start Ansible costs as much as dozens of tasks."""
    made_by = ("site.yml", "private.yml", "scaling.yml")
    made = play(*made_by, at=controllers[0])
    assert len(made) == len(made_by)
    assert min(made) >= 7, made
    assert play(*made_by, "--skip-tags=look", at=controllers[-1]) == [0, 0, 0]
    play("teardown.yml", "private_teardown.yml", "scaling_teardown.yml", at=controllers[-1])
    assert {kind: found for kind, found in own_resources(account).items() if found} == {}


@pytest.mark.client("ansible")
@pytest.mark.timeout(SECONDS)
def test_modules_work_as_ansible_itself_runs_them(account, ansible, tmp_path):
    scaling = account.client("autoscaling")
    [image] = account.ec2.describe_images(Owners=["amazon"])["Images"]
    data = {"ImageId": image["ImageId"], "InstanceType": "t3.nano"}
    account.ec2.create_launch_template(LaunchTemplateName="plain", LaunchTemplateData=data)
    group = {"AutoScalingGroupName": "plain", "MinSize": 0, "MaxSize": 1, "AvailabilityZones": ["us-east-1a"]}
    scaling.create_auto_scaling_group(**group, LaunchTemplate={"LaunchTemplateName": "plain"})
    playbook = tmp_path / "plain.yml"
    playbook.write_text(PLAIN)
    said = ansible("ansible-playbook", playbook, f"--extra-vars=account={account.account_id}")
    keys, refreshes, buckets = ["changed", "ok", "changed"], ["ok"], ["changed", "changed"]
    assert re.findall(r"^(\w+): \[localhost\]", said, re.MULTILINE) == [*keys, *refreshes, *buckets]
    [refresh] = scaling.describe_instance_refreshes(AutoScalingGroupName="plain")["InstanceRefreshes"]
    assert refresh["Strategy"] == "Rolling"
    assert account.ec2.describe_key_pairs()["KeyPairs"] == []
    assert account.client("s3").list_buckets()["Buckets"] == []
