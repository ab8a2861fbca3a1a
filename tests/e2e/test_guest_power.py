"""What a guest does to itself: it powers off, it reboots; and what the API makes of it at once.

And what is made of a guest whose QEMU fails.
"""

import contextlib
import os
import signal
from typing import Any

from stead_cli.errors import CliError
from tests.support.real_cloud import HEARS_THE_POWER_BUTTON, ONE_PROCESSOR, User, qemu_process_of
from tests.support.waiting import wait_for


def test_guest_that_is_rebooted_and_reboots_itself(user: User) -> None:
    """RebootInstances reboots it once; what it does itself later is no other instance's life either."""
    [instance_id] = user.run()
    first = user.login(instance_id).run("cat /proc/sys/kernel/random/boot_id")
    address = user.describe(instance_id)["PublicIpAddress"]
    user.login(instance_id).run(HEARS_THE_POWER_BUTTON, timeout=60)
    user.ec2.reboot_instances(InstanceIds=[instance_id])
    second = _wait_for_another_boot(user, instance_id, first)
    assert user.describe(instance_id)["PublicIpAddress"] == address
    # It does not boot again: the reboot is a number that was reached, not a command that may be repeated.
    assert user.login(instance_id).run("cat /proc/sys/kernel/random/boot_id") == second

    process = qemu_process_of(instance_id)
    _ask(user, instance_id, "sudo reboot")
    _wait_for_another_boot(user, instance_id, second)
    assert user.state(instance_id) == "running"
    assert qemu_process_of(instance_id) == process
    _is_recovered(user, instance_id)


def _is_recovered(user: User, instance_id: str) -> None:
    """Kill its QEMU: it is the same instance, which boots again, unless that is not wished; then it is stopped."""
    login = user.login(instance_id)
    login.run("echo kept >/var/tmp/word; sync")
    described, process = user.describe(instance_id), qemu_process_of(instance_id)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: qemu_process_of(instance_id) not in (None, process), "it is started again", 30)
    assert user.login(instance_id).run("cat /var/tmp/word").strip() == "kept"
    assert user.describe(instance_id) == described
    user.wait("instance_status_ok", [instance_id])  # it answers ARP, of which its host hears within a second
    [status] = user.ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
    assert (status["SystemStatus"]["Status"], status["InstanceStatus"]["Status"]) == ("ok", "ok")

    user.ec2.modify_instance_maintenance_options(InstanceId=instance_id, AutoRecovery="disabled")
    process = qemu_process_of(instance_id)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: user.state(instance_id) == "stopped", "it is stopped", 30)
    assert user.describe(instance_id)["StateReason"]["Code"] == "Server.InternalError"


def _ask(user: User, instance_id: str, command: str) -> None:
    """Say something to the guest that ends its own connection."""
    with contextlib.suppress(CliError):  # the connection ends with the guest
        user.login(instance_id).run(f"{command}; sleep 30", timeout=60)


def _wait_for_another_boot(user: User, instance_id: str, before: str) -> str:
    def boot() -> str | None:
        try:
            now = user.login(instance_id).run("cat /proc/sys/kernel/random/boot_id")
        except CliError:
            return None
        return now if now != before else None

    return wait_for(boot, f"{instance_id} has booted again", 120, poll=0.5)


def test_a_group_keeps_its_guests(user: User) -> None:
    """From none to one; it ends itself, the QEMU of the next is killed for good; each is replaced, and back to none.

    One that powers itself off is terminated, as its template asks.
    """
    data: Any = {"ImageId": user.image_id, "InstanceType": ONE_PROCESSOR, "KeyName": user.key_name}
    data |= {"InstanceInitiatedShutdownBehavior": "terminate", "MaintenanceOptions": {"AutoRecovery": "disabled"}}
    user.ec2.create_launch_template(LaunchTemplateName="kept", LaunchTemplateData=data)
    scaling = user.account.client("autoscaling")
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="kept",
        LaunchTemplate={"LaunchTemplateName": "kept"},
        MinSize=0,
        MaxSize=1,
        AvailabilityZones=["us-east-1a"],
    )

    def in_service(*but: str) -> str | None:
        """The instance in service, when there is one, and none of those that are gone."""
        [group] = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["kept"])["AutoScalingGroups"]
        found = [one["InstanceId"] for one in group["Instances"] if one["LifecycleState"] == "InService"]
        return found[0] if len(found) == 1 and found[0] not in but else None

    scaling.set_desired_capacity(AutoScalingGroupName="kept", DesiredCapacity=1)
    first = wait_for(in_service, "one is in service", 60)
    _ask(user, first, "sudo poweroff")
    wait_for(lambda: user.state(first) == "terminated", "it is terminated", 30)
    assert user.describe(first)["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert qemu_process_of(first) is None
    second = wait_for(lambda: in_service(first), "another one stands for what ended itself", 90)
    process = wait_for(lambda: qemu_process_of(second), "it has its QEMU", 30)
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: in_service(first, second), "another one stands for what was killed", 90)
    wait_for(lambda: user.state(second) == "terminated", "what was killed is terminated", 30)
    told = scaling.describe_scaling_activities(AutoScalingGroupName="kept")["Activities"]
    assert sum("indicating it has been terminated or stopped" in one["Cause"] for one in told) == 2
    scaling.update_auto_scaling_group(AutoScalingGroupName="kept", DesiredCapacity=0)

    def ends() -> bool:
        [group] = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["kept"])["AutoScalingGroups"]
        return not group["Instances"]

    wait_for(ends, "none is left", 60)
    scaling.delete_auto_scaling_group(AutoScalingGroupName="kept")
