"""kill -9 of controller and agent, during and after a launch: guests are adopted untouched, half-made ones finished."""

import pytest

from stead_cli.processes import Program
from tests.support.real_cloud import RealCloud, User, qemu_process_of
from tests.support.waiting import wait_for


def _program(cloud: RealCloud, name: str) -> Program:
    return cloud.controller if name == "controller" else cloud.agent


def test_running_guest_is_adopted_untouched(real_cloud: RealCloud, user: User) -> None:
    """By a new controller, and then by a new agent."""
    [instance_id] = user.run()
    login = user.login(instance_id)
    boot = login.run("cat /proc/sys/kernel/random/boot_id")
    process = qemu_process_of(instance_id)

    for name in ("controller", "agent"):
        real_cloud.kill(_program(real_cloud, name))
        # Static stability: guest, network and metadata go on while the program is away.
        assert login.run("cat /proc/sys/kernel/random/boot_id") == boot, name
        seen = login.run("IMDS_TOKEN=$(imds token) && export IMDS_TOKEN && imds get meta-data/instance-id")
        assert seen.strip() == instance_id, name
        real_cloud.up()

        wait_for(lambda: user.state(instance_id) == "running", "it is seen running", 30)
        assert qemu_process_of(instance_id) == process, name
        assert login.run("cat /proc/sys/kernel/random/boot_id") == boot, name
    user.terminate([instance_id])
    assert qemu_process_of(instance_id) is None


@pytest.mark.parametrize("name", ["controller", "agent"])
def test_launch_survives_a_kill(real_cloud: RealCloud, user: User, name: str) -> None:
    """Killed right after the answer to RunInstances: what was acknowledged runs after the restart, once."""
    [instance_id] = user.run(wait=False, ClientToken="one-launch")
    real_cloud.kill(_program(real_cloud, name))
    real_cloud.up()
    user.wait("instance_running", [instance_id])
    # A retried request with its token makes nothing new.
    assert user.run(wait=False, ClientToken="one-launch") == [instance_id]
    assert len(user.ec2.describe_instances()["Reservations"]) == 1
    user.login(instance_id)


def test_terminate_survives_a_kill_of_both(real_cloud: RealCloud, user: User) -> None:
    [instance_id] = user.run()
    user.ec2.terminate_instances(InstanceIds=[instance_id])
    real_cloud.kill(real_cloud.agent)
    real_cloud.kill(real_cloud.controller)
    real_cloud.up()
    user.wait("instance_terminated", [instance_id])
    assert qemu_process_of(instance_id) is None


def test_guest_that_stops_while_the_agent_is_dead(real_cloud: RealCloud, user: User) -> None:
    [instance_id] = user.run()
    login = user.login(instance_id)
    real_cloud.kill(real_cloud.agent)
    login.run("sudo poweroff >/dev/null 2>&1 &")
    wait_for(lambda: qemu_process_of(instance_id) is None, "the guest is off", 30)
    real_cloud.up()
    wait_for(lambda: user.state(instance_id) == "stopped", "it is seen stopped", 30)
    assert user.describe(instance_id)["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
