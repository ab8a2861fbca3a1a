"""The identity role of instances: its guest can say whose it is, and do nothing else."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from botocore.exceptions import ClientError

from stead_controller.db.tables import CloudFact, Instance
from stead_controller.desired import desired_state
from stead_controller.desired.changes import Reader
from stead_controller.desired.messages.identity import with_session
from stead_controller.request import session_tokens
from stead_controller.request.session_tokens import Facts
from stead_controller.resources.iam import instance_identity
from tests.support import rows


@pytest.fixture
def instance_id(api):
    api.run(lambda tx: tx.session.merge(CloudFact(name="epoch", value="1")))
    params = {"ImageId": api.world.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    return api.ec2.run_instances(**params)["Instances"][0]["InstanceId"]


def sent(api, instance_id):
    """The credentials as they are sent to the instance's host, or None."""
    mint = partial(instance_identity.credentials, api.world.cloud.sealer)

    def read(tx):
        reader = Reader(tx, _additions=[partial(with_session, mint=mint)])
        state = reader.everything(api.world.host_id).message.state
        for each in state.resources:
            if each.id == instance_id and each.machine.metadata.HasField("identity_credentials"):
                return each.machine.metadata.identity_credentials
        return None

    return api.run(read)


def session(api, instance_id, service):
    words = sent(api, instance_id)
    credentials = {
        "AccessKeyId": words.access_key_id,
        "SecretAccessKey": words.secret_access_key,
        "SessionToken": words.session_token,
    }
    return api.session(credentials, service)


def change(api, instance_id, **values):
    def set_values(tx):
        instance = tx.session.get_one(Instance, instance_id)
        for name, value in values.items():
            setattr(instance, name, value)
        desired_state.refresh_instance(tx, instance_id)

    api.run(set_values)


def test_a_guest_can_say_whose_it_is_and_nothing_else(api, instance_id):
    account_id = api.world.one.caller.account_id
    assert session(api, instance_id, "sts").get_caller_identity() | {"ResponseMetadata": None} == {
        "UserId": f"{account_id}:aws:ec2-instance:{instance_id}",
        "Account": account_id,
        "Arn": f"arn:aws:sts::{account_id}:assumed-role/aws:ec2-instance/{instance_id}",
        "ResponseMetadata": None,
    }
    with pytest.raises(ClientError) as refusal:
        session(api, instance_id, "ec2").describe_instances()
    assert refusal.value.response["Error"]["Code"] == "UnauthorizedOperation"


def test_credentials_are_made_as_they_are_sent(api, instance_id):
    first, second = sent(api, instance_id), sent(api, instance_id)
    assert first.updated == second.updated
    assert first.expires == first.updated + instance_identity.LIFETIME.total_seconds()
    assert first.access_key_id != second.access_key_id
    written = repr(api.dump())
    for secret in (first.secret_access_key, first.session_token, first.access_key_id):
        assert secret not in written


@pytest.mark.parametrize("state", ["terminated", "stopped"])
def test_credentials_die_with_their_instance(api, instance_id, state):
    client = session(api, instance_id, "sts")
    if state == "terminated":
        api.ec2.terminate_instances(InstanceIds=[instance_id])  # which the host is sent, unlike what comes after
    change(api, instance_id, state=state)
    assert sent(api, instance_id) is None
    with pytest.raises(ClientError) as refusal:
        client.get_caller_identity()
    assert refusal.value.response["Error"]["Code"] == "InvalidClientTokenId"


def test_no_session_is_of_another_accounts_instance_or_role(api, instance_id):
    role_id = api.run(lambda tx: tx.session.merge(rows.role(api.world.one.caller.account_id, "web")).id)
    now = datetime.now(UTC)
    for account, code in ((api.world.one, None), (api.world.other, "InvalidClientTokenId")):
        for principal_id in (instance_id, role_id):
            facts = Facts("role", account.caller.account_id, principal_id, "x", now, now + timedelta(hours=1))
            made = session_tokens.mint(api.world.cloud.sealer, facts)
            names = {"SecretAccessKey": made.secret_access_key, "SessionToken": made.session_token}
            sts = api.session({"AccessKeyId": made.access_key_id, **names}, "sts")
            if code is None:
                assert sts.get_caller_identity()["Account"] == account.caller.account_id
            else:
                api.refused(code, sts.get_caller_identity)


def test_sessions_begin_anew_long_before_they_end(api, instance_id):
    now = datetime.now(UTC)
    began = sent(api, instance_id).updated
    assert not api.run(instance_identity.DUE.is_met, now)
    later = now + instance_identity.RENEWED_AFTER + timedelta(minutes=1)
    assert api.run(instance_identity.DUE.is_met, later)
    api.run(instance_identity.renew_due, later, 10)
    assert not api.run(instance_identity.DUE.is_met, later)
    assert sent(api, instance_id).updated == int(later.timestamp()) > began
    change(api, instance_id, state="stopped")
    api.run(instance_identity.renew_due, later + instance_identity.LIFETIME, 10)
    assert api.run(lambda tx: tx.session.get_one(Instance, instance_id).identity_issued) is None


def test_hosts_are_sent_groups_of_each_interface_and_monitoring(api, instance_id):
    tenant = api.world.one
    made = api.ec2.create_security_group(GroupName="databases", Description="d", VpcId=tenant.vpc_id)
    interfaces = [
        {"DeviceIndex": 0, "SubnetId": tenant.subnet_ids[0]},
        {"DeviceIndex": 1, "SubnetId": tenant.subnet_ids[0], "Groups": [made["GroupId"], tenant.group_id]},
    ]
    params = {"ImageId": api.world.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    answer = api.ec2.run_instances(**params, NetworkInterfaces=interfaces, Monitoring={"Enabled": True})
    sent = {
        each.id: each.machine
        for each in api.run(lambda tx: Reader(tx).everything(api.world.host_id)).message.state.resources
    }
    monitored, plain = sent[answer["Instances"][0]["InstanceId"]], sent[instance_id]
    assert (monitored.metadata.monitoring, plain.metadata.monitoring) == (True, False)
    assert [list(each.security_groups) for each in monitored.interfaces] == [["default"], ["databases", "default"]]
    assert monitored.metadata.private_address == answer["Instances"][0]["PrivateIpAddress"]
