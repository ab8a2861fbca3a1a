"""Ansible's modules of AWS, unchanged, make the sites of `examples/ansible`, find them as they are, and remove them.

Where PostgreSQL is installed the cloud has two controllers: the second finds, and removes, what the first has made.
"""

import re
import shutil

import pytest

from tests.support.own_resources import own_resources
from tests.support.processes import ROOT
from tests.support.second_controller import clouds

SECONDS = 600  # each task is a Python program of a second, or by Mitogen a third of one


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
    """A runner of playbooks: it gives how many tasks changed something.

    Modules run by Mitogen: the same modules, in less than half the time that Ansible itself takes.
    """
    [strategies] = client.glob("venv/lib/*/site-packages/ansible_mitogen/plugins/strategy")
    mitogen = {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(strategies)}

    def run(playbook, *arguments, at):
        said = ansible("ansible-playbook", playbook, *arguments, **mitogen, AWS_ENDPOINT_URL=at.endpoint)
        [(changed, failed)] = re.findall(r"^localhost .*changed=(\d+) .*failed=(\d+)", said, re.MULTILINE)
        assert failed == "0"
        return int(changed)

    return run


@pytest.mark.client("ansible")
@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize(
    ("made_by", "removed_by"),
    [
        ("site.yml", "teardown.yml"),
        ("private.yml", "private_teardown.yml"),
        ("scaling.yml", "scaling_teardown.yml"),
    ],
)
def test_a_second_run_changes_nothing(controllers, account, play, made_by, removed_by):
    assert play(made_by, at=controllers[0]) >= 7
    assert play(made_by, "--skip-tags=look", at=controllers[-1]) == 0
    play(removed_by, at=controllers[-1])
    assert {kind: found for kind, found in own_resources(account).items() if found} == {}


@pytest.mark.client("ansible")
@pytest.mark.timeout(SECONDS)
def test_modules_work_as_ansible_itself_runs_them(account, ansible):
    """Each in a process of its own, which finds endpoint, keys and region in its environment."""

    def module(name, arguments):
        [outcome] = re.findall(
            r"^localhost \| (\w+)", ansible("ansible", "localhost", "-m", name, "-a", arguments), re.MULTILINE
        )
        return outcome

    assert module("amazon.aws.ec2_key", "name=plain key_type=ed25519") == "CHANGED"
    assert [pair["KeyName"] for pair in account.ec2.describe_key_pairs()["KeyPairs"]] == ["plain"]
    assert module("amazon.aws.ec2_key", "name=plain key_type=ed25519") == "SUCCESS"
    assert module("amazon.aws.ec2_key", "name=plain state=absent") == "CHANGED"
    assert account.ec2.describe_key_pairs()["KeyPairs"] == []
    scaling = account.client("autoscaling")
    [image] = account.ec2.describe_images(Owners=["amazon"])["Images"]
    data = {"ImageId": image["ImageId"], "InstanceType": "t3.nano"}
    account.ec2.create_launch_template(LaunchTemplateName="plain", LaunchTemplateData=data)
    group = {"AutoScalingGroupName": "plain", "MinSize": 0, "MaxSize": 1, "AvailabilityZones": ["us-east-1a"]}
    scaling.create_auto_scaling_group(**group, LaunchTemplate={"LaunchTemplateName": "plain"})
    assert module("amazon.aws.autoscaling_instance_refresh", "name=plain state=started") == "SUCCESS"
    [refresh] = scaling.describe_instance_refreshes(AutoScalingGroupName="plain")["InstanceRefreshes"]
    assert refresh["Strategy"] == "Rolling"
    assert module("amazon.aws.s3_bucket", f"name=plain-{account.account_id} state=present") == "CHANGED"
    assert module("amazon.aws.s3_bucket", f"name=plain-{account.account_id} state=absent") == "CHANGED"
