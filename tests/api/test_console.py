"""The console of a guest, a screenshot and an interrupt, asked of simulated hosts."""

import pytest
from botocore.exceptions import ClientError

from tests.support.clients import FAST, Account


def test_a_guest_is_woken_for_a_screenshot_and_interrupted(account: Account, image_id: str) -> None:
    ec2 = account.ec2
    launched = ec2.run_instances(ImageId=image_id, InstanceType="stead.tiny", MinCount=1, MaxCount=1)
    instance_id = launched["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=FAST)

    def console() -> str:
        return str(ec2.get_console_output(InstanceId=instance_id, Latest=True)["Output"])

    assert ec2.get_console_screenshot(InstanceId=instance_id)["ImageData"]
    assert "key pressed" not in console()
    assert ec2.get_console_screenshot(InstanceId=instance_id, WakeUp=True)["ImageData"]
    assert console().count("key pressed") == 1
    with pytest.raises(ClientError, match="DryRunOperation"):
        ec2.send_diagnostic_interrupt(InstanceId=instance_id, DryRun=True)
    assert "NMI" not in console()
    ec2.send_diagnostic_interrupt(InstanceId=instance_id)
    assert console().count("NMI received") == 1

    ec2.stop_instances(InstanceIds=[instance_id])
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance_id], WaiterConfig=FAST)
    for call in (ec2.send_diagnostic_interrupt, ec2.get_console_screenshot):
        with pytest.raises(ClientError, match=r"IncorrectInstanceState.*is not running"):
            call(InstanceId=instance_id)
    ec2.terminate_instances(InstanceIds=[instance_id])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance_id], WaiterConfig=FAST)
