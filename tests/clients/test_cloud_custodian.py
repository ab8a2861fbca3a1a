"""Cloud Custodian, unchanged, looks over an account and puts it right: images, snapshots, groups, keys, instances."""

import re
import subprocess

import pytest

SECONDS = 170
POLICIES = """
policies:
- name: images-of-instances
  resource: ec2-instance-ami
- name: without-agent
  resource: ec2
  filters: [{not: [{type: ssm, key: PingStatus, value: Online}]}]
  actions:
  - {type: tag, tags: {owner: me}}
  - {type: mark-for-op, op: terminate, days: 1}
- name: snapshot
  resource: ebs-snapshot
  actions: [{type: set-permissions, add: ["123456789012"]}]
- name: shared-snapshot
  resource: ebs-snapshot
  filters: [cross-account]
  actions: [{type: set-permissions, remove: matched}]
- name: image
  resource: ami
  actions: [{type: set-permissions, add: ["123456789012"]}]
- name: shared-image
  resource: ami
  filters: [cross-account]
  actions: [{type: set-permissions, remove: matched}, {type: deregister, delete-snapshots: true}]
- name: open-group
  resource: security-group
  filters: [{type: ingress, Ports: [22], Cidr: {value: 0.0.0.0/0}}]
  actions: [{type: remove-permissions, ingress: matched}]
- name: unused-key
  resource: key-pair
  filters: [unused]
  actions: [delete]
- name: end
  resource: ec2
  filters: [{"tag:owner": me}]
  actions: [{type: terminate, force: true}]
"""


@pytest.mark.client("cloud-custodian")
@pytest.mark.timeout(SECONDS)
def test_an_account_is_put_right(account, image_id, client, tmp_path):
    ec2 = account.ec2
    group = ec2.create_security_group(GroupName="open", Description="x")["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0")
    ec2.create_key_pair(KeyName="unused", KeyType="ed25519")
    [made] = ec2.run_instances(ImageId=image_id, MinCount=1, MaxCount=1, InstanceType="t3.nano")["Instances"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[made["InstanceId"]], WaiterConfig={"Delay": 1})
    own = ec2.create_image(InstanceId=made["InstanceId"], Name="own", NoReboot=True)["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[own], WaiterConfig={"Delay": 1})
    (tmp_path / "policies.yml").write_text(POLICIES)
    done = subprocess.run(
        [client / "venv/bin/custodian", "run", "--region=us-east-1", "--cache-period=0", "-s", "out", "policies.yml"],
        cwd=tmp_path,
        env=account.environment | {"HOME": str(tmp_path), "AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    found = dict(re.findall(r"policy:(\S+) resource:\S+ region:us-east-1 count:(\d+)", done.stderr))
    assert found == dict.fromkeys(re.findall(r"name: (\S+)", POLICIES), "1"), done.stderr[-6000:]
    [[ended]] = [each["Instances"] for each in ec2.describe_instances()["Reservations"]]
    assert ended["State"]["Name"] in ("shutting-down", "terminated")
    assert (ec2.describe_images(Owners=["self"])["Images"], ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]) == (
        [],
        [],
    )
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"] == []
    assert ec2.describe_key_pairs()["KeyPairs"] == []
