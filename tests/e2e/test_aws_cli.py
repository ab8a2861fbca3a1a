"""The real `aws` command, from run-instances to terminate-instances, as the README's first tour does it."""

from tests.support.real_cloud import User, qemu_process_of
from tests.support.waiting import wait_for


def test_first_tour(user: User) -> None:
    aws = user.account.aws
    assert aws("sts", "get-caller-identity")["Account"] == user.account.account_id
    images = aws("ec2", "describe-images", "--owners", "amazon", "--filters", "Name=name,Values=stead-micro-*")[
        "Images"
    ]
    made = aws(
        "ec2", "run-instances", "--image-id", images[0]["ImageId"], "--instance-type", "t3.nano", "--key-name", user.key_name,
        "--tag-specifications", "ResourceType=instance,Tags=[{Key=Name,Value=tour}]",
    )  # fmt: skip
    instance_id = made["Instances"][0]["InstanceId"]
    assert made["Instances"][0]["State"]["Name"] == "pending"
    user.wait("instance_running", [instance_id])

    shown = aws("ec2", "describe-instances", "--filters", "Name=tag:Name,Values=tour")
    assert [each["Instances"][0]["InstanceId"] for each in shown["Reservations"]] == [instance_id]
    user.login(instance_id)
    output = aws("ec2", "get-console-output", "--instance-id", instance_id, "--latest")["Output"]
    assert "BEGIN SSH HOST KEY KEYS" in output

    stopping = aws("ec2", "stop-instances", "--instance-ids", instance_id)["StoppingInstances"][0]
    assert (stopping["PreviousState"]["Name"], stopping["CurrentState"]["Name"]) == ("running", "stopping")
    user.wait("instance_stopped", [instance_id])
    assert (
        aws("ec2", "start-instances", "--instance-ids", instance_id)["StartingInstances"][0]["InstanceId"]
        == instance_id
    )
    user.wait("instance_running", [instance_id])
    aws("ec2", "reboot-instances", "--instance-ids", instance_id)
    ending = aws("ec2", "terminate-instances", "--instance-ids", instance_id)["TerminatingInstances"][0]
    assert ending["CurrentState"]["Name"] in {"shutting-down", "terminated"}
    user.wait("instance_terminated", [instance_id])
    wait_for(lambda: qemu_process_of(instance_id) is None, "its process is gone", 10)


def test_accounts_do_not_see_each_other(user: User, guest_owner: User, guest: str) -> None:
    seen = user.account.aws("ec2", "describe-instances")["Reservations"]
    assert not [each for each in seen for instance in each["Instances"] if instance["InstanceId"] == guest]
    refused = user.account.aws_result("ec2", "terminate-instances", "--instance-ids", guest)
    assert refused.returncode != 0
    assert "InvalidInstanceID.NotFound" in refused.stderr
    assert guest_owner.state(guest) == "running"


def test_dry_run_changes_nothing(user: User) -> None:
    refused = user.account.aws_result(
        "ec2", "run-instances", "--dry-run", "--image-id", user.image_id, "--instance-type", "t3.nano"
    )
    assert "DryRunOperation" in refused.stderr
    assert user.account.aws("ec2", "describe-instances")["Reservations"] == []
