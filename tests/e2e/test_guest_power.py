"""What a guest does to itself: it powers off, it reboots; and what the API makes of it at once.

And what is made of a guest whose QEMU fails.
"""

import contextlib
import os
import signal
from typing import Any

from stead_cli.errors import CliError
from stead_cli.ssh import Login
from tests.support import halting_image
from tests.support.real_cloud import HEARS_THE_POWER_BUTTON, ONE_PROCESSOR, RealCloud, User, qemu_process_of
from tests.support.waiting import wait_for

BOOT = "cat /proc/sys/kernel/random/boot_id"


def test_guest_that_is_rebooted_and_reboots_itself(guest_owner: User, guest: str) -> None:
    """RebootInstances reboots it once; what it does itself later is no other instance's life either.

    The shared guest is in the end as it was, but for three more boots and a file.
    """
    user, login = guest_owner, guest_owner.connect(guest)
    first = login.run(BOOT)
    address, process = user.describe(guest)["PublicIpAddress"], qemu_process_of(guest)
    login.run(HEARS_THE_POWER_BUTTON, timeout=60)
    user.ec2.reboot_instances(InstanceIds=[guest])
    login = _booted_again(user, guest, first)
    second = login.run(BOOT)
    assert user.describe(guest)["PublicIpAddress"] == address
    assert (user.state(guest), qemu_process_of(guest)) == ("running", process)

    # It did not boot again: the reboot is a number that was reached, not a command that may be repeated.
    assert login.run(f"{BOOT}; (usleep 200000; sudo reboot) >/dev/null 2>&1 &") == second
    login = _booted_again(user, guest, second)
    assert user.state(guest) == "running"
    assert qemu_process_of(guest) == process
    _is_recovered(user, guest, login)


def _is_recovered(user: User, instance_id: str, login: Login) -> None:
    """Kill its QEMU: it is the same instance, which boots again."""
    login.run("echo kept >/var/tmp/kept; sync")
    described, process = user.describe(instance_id), qemu_process_of(instance_id)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: qemu_process_of(instance_id) not in (None, process), "it is started again", 30)
    assert user.login(instance_id).run("cat /var/tmp/kept").strip() == "kept"
    assert user.describe(instance_id) == described
    user.wait("instance_status_ok", [instance_id])  # it answers ARP, of which its host hears within a second
    [status] = user.ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
    assert (status["SystemStatus"]["Status"], status["InstanceStatus"]["Status"]) == ("ok", "ok")


def test_one_that_is_not_to_be_recovered_is_stopped(real_cloud: RealCloud, user: User) -> None:
    """Its QEMU is killed; no guest is waited for."""
    [instance_id] = user.run(ImageId=halting_image.add(real_cloud.operator, user.folder))
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


def _booted_again(user: User, instance_id: str, before: str) -> Login:
    """Wait until it has booted again, and return a login; it is looked at seldom, since a login costs a guest half a second."""

    def login() -> Login | None:
        try:
            made = user.connect(instance_id)
            return made if made.run(BOOT) != before else None
        except CliError:
            return None

    return wait_for(login, f"{instance_id} has booted again", 120, poll=2)


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
    third = wait_for(lambda: in_service(first, second), "another one stands for what was killed", 90)
    wait_for(lambda: user.state(second) == "terminated", "what was killed is terminated", 30)
    told = scaling.describe_scaling_activities(AutoScalingGroupName="kept")["Activities"]
    assert sum("indicating it has been terminated or stopped" in one["Cause"] for one in told) == 2
    scaling.update_auto_scaling_group(AutoScalingGroupName="kept", DesiredCapacity=0)

    def left() -> list[Any]:
        [group] = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["kept"])["AutoScalingGroups"]
        return list(group["Instances"])

    wait_for(lambda: user.state(third) in {"shutting-down", "terminated"}, "the group ends it", 60)
    # It is spared the rest of its boot, after which it would hear the power button.
    user.ec2.terminate_instances(InstanceIds=[third], SkipOsShutdown=True)
    wait_for(lambda: not left(), "none is left", 60)
    scaling.delete_auto_scaling_group(AutoScalingGroupName="kept")
