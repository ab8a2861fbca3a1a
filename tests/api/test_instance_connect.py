"""EC2 Instance Connect: SendSSHPublicKey by boto3, and who may push which user's key to which instance."""

import pytest

from stead_controller.errors import WrongState
from stead_controller.request.questions import HostAnswer, PushedKey
from tests.api.base_requests import SSH_KEY
from tests.api.identity import refused
from tests.api.test_authorization import User, statement
from tests.support import rows


@pytest.fixture
def hosts(api, monkeypatch):
    """What hosts were asked; each answers what `answer` says."""

    class Hosts(list):
        answer = HostAnswer(b"", rows.NOW)

        async def ask(self, question):
            if isinstance(self.answer, Exception):
                raise self.answer
            self.append(question)
            return self.answer

    made = Hosts()
    monkeypatch.setattr(api.app, "_ask", made.ask)
    return made


@pytest.fixture
def push(api):
    """Push a key to an instance, for `admin`."""
    connect = api.client(api.world.one, "ec2-instance-connect")

    def send(instance_id, **changes):
        wanted = {"InstanceId": instance_id, "InstanceOSUser": "admin", "SSHPublicKey": SSH_KEY}
        return connect.send_ssh_public_key(**wanted | changes)

    return send


def test_a_key_is_pushed_to_the_instances_host(api, hosts, push):
    instance_id = api.launch(number=1)
    answer = push(instance_id, AvailabilityZone="us-east-1a", SSHPublicKey=f"{SSH_KEY} ann@laptop\n")
    assert answer["Success"] is True
    [asked] = hosts
    host_id = api.run(lambda tx: tx.session.get_one(rows.Instance, instance_id).host_id)
    caller = api.world.one.caller.arn
    assert asked == PushedKey(host_id, instance_id, "admin", SSH_KEY, 60, caller, answer["RequestId"])
    for user in ("_apt", "a", "ec2-user", "j@corp.example", "0user", "a" * 31 + "$"):
        assert push(instance_id, InstanceOSUser=user)["Success"]
        assert hosts[-1].os_user == user


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"InstanceOSUser": "-x"}, "InvalidArgsException"),
        ({"InstanceOSUser": "a/b"}, "InvalidArgsException"),
        ({"InstanceOSUser": "0"}, "InvalidArgsException"),
        ({"InstanceOSUser": "a" * 33}, "InvalidArgsException"),
        ({"InstanceOSUser": "a\nb"}, "InvalidArgsException"),
        ({"SSHPublicKey": "ssh-ed25519 " + "A" * 80}, "InvalidArgsException"),
        ({"SSHPublicKey": SSH_KEY + " " * 4096}, "InvalidArgsException"),
        ({"SSHPublicKey": f"{SSH_KEY}\n{SSH_KEY}"}, "InvalidArgsException"),
        ({"InstanceId": "i-00000000000000000"}, "EC2InstanceNotFoundException"),
        ({"InstanceId": "vol-00000000000000000"}, "InvalidArgsException"),
        ({"AvailabilityZone": "us-east-1f"}, "EC2InstanceNotFoundException"),
    ],
)
def test_what_is_wrong_is_refused_and_no_host_is_asked(api, hosts, push, changes, code):
    instance_id = api.launch(number=1)
    changed = dict(changes)
    refused(code, push, instance_id=changed.pop("InstanceId", instance_id), **changed)
    assert hosts == []


def test_an_instance_that_does_not_run_is_refused(api, hosts, push):
    for number, state in enumerate(("pending", "stopped", "stopping", "shutting-down", "terminated")):
        instance_id = api.launch(number=number + 1, state=state)
        refused("EC2InstanceStateInvalidException", push, instance_id=instance_id)
    theirs = api.launch(api.world.other, number=9)
    refused("EC2InstanceNotFoundException", push, instance_id=theirs)
    assert hosts == []


def test_a_host_that_cannot_is_said_to_be_unavailable(api, hosts, push):
    instance_id = api.launch(number=1)
    hosts.answer = HostAnswer(b"", rows.NOW, "i-1 has no metadata here")
    message = refused("EC2InstanceUnavailableException", push, instance_id=instance_id)
    assert "has no metadata" not in message, "that is for the operator"
    hosts.answer = WrongState("instance", "The host is not connected now.", code="Unavailable")
    refused("EC2InstanceUnavailableException", push, instance_id=instance_id)


def test_who_may_push_a_key_for_whom(api, hosts):
    """As in AWS's own examples: to one instance, for one user of its system."""
    user = User(api)
    connect = user.client("ec2-instance-connect")
    own, another = api.launch(number=1), api.launch(number=2)
    arn = f"arn:aws:ec2:us-east-1:{api.world.one.caller.account_id}:instance/{own}"
    condition = {"StringEquals": {"ec2:osuser": "admin"}}
    user.may(statement("ec2-instance-connect:SendSSHPublicKey", arn, **condition))
    asked = {"InstanceId": own, "InstanceOSUser": "admin", "SSHPublicKey": SSH_KEY}
    assert connect.send_ssh_public_key(**asked)["Success"]
    refused("AccessDeniedException", connect.send_ssh_public_key, **asked | {"InstanceOSUser": "root"})
    refused("AccessDeniedException", connect.send_ssh_public_key, **asked | {"InstanceId": another})
    assert len(hosts) == 1
