"""The real `aws` command on a cloud of real guests: what it may not see, and what it only tries."""

from tests.support.real_cloud import User


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
