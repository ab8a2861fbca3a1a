"""kill -9 of controller and agent, during and after a launch: guests are adopted untouched, half-made ones finished."""

import os

from stead_cli.processes import Program
from stead_cli.ssh import Login
from stead_proto import bounded_log
from tests.support.real_cloud import RealCloud, User, qemu_process_of
from tests.support.waiting import wait_for


def test_a_launch_its_guest_and_the_guests_end_survive_kills(real_cloud: RealCloud, user: User) -> None:
    instance_id = _launch_survives_a_kill(real_cloud, user, real_cloud.controller)
    login = user.login(instance_id)
    for program in (real_cloud.controller, real_cloud.agent):
        _running_guest_is_adopted_untouched(real_cloud, user, instance_id, login, program)
    _guest_stops_while_the_agent_is_dead(real_cloud, user, instance_id, login)
    user.terminate([instance_id])
    assert qemu_process_of(instance_id) is None


def test_a_launch_survives_a_kill_of_the_agent_and_terminate_one_of_both(real_cloud: RealCloud, user: User) -> None:
    instance_id = _launch_survives_a_kill(real_cloud, user, real_cloud.agent)
    user.login(instance_id)
    user.ec2.terminate_instances(InstanceIds=[instance_id])
    real_cloud.kill(real_cloud.agent)
    real_cloud.kill(real_cloud.controller)
    real_cloud.up()
    user.wait("instance_terminated", [instance_id])
    assert qemu_process_of(instance_id) is None


def _launch_survives_a_kill(cloud: RealCloud, user: User, program: Program) -> str:
    """Killed right after the answer to RunInstances: what was acknowledged runs after the restart, once. Give its id."""
    [instance_id] = user.run(wait=False, ClientToken="one-launch")
    cloud.kill(program)
    cloud.up()
    user.wait("instance_running", [instance_id])
    # A retried request with its token makes nothing new.
    assert user.run(wait=False, ClientToken="one-launch") == [instance_id]
    assert len(user.ec2.describe_instances()["Reservations"]) == 1
    return instance_id


def _running_guest_is_adopted_untouched(
    cloud: RealCloud, user: User, instance_id: str, login: Login, program: Program
) -> None:
    boot = login.run("cat /proc/sys/kernel/random/boot_id")
    process = qemu_process_of(instance_id)
    cloud.kill(program)
    # Static stability: guest, network and metadata go on while the program is away.
    assert login.run("cat /proc/sys/kernel/random/boot_id") == boot, program.name
    seen = login.run("IMDS_TOKEN=$(imds token) && export IMDS_TOKEN && imds get meta-data/instance-id")
    assert seen.strip() == instance_id, program.name
    cloud.up()
    wait_for(lambda: user.state(instance_id) == "running", "it is seen running", 30)
    assert qemu_process_of(instance_id) == process, program.name
    assert login.run("cat /proc/sys/kernel/random/boot_id") == boot, program.name


def _guest_stops_while_the_agent_is_dead(cloud: RealCloud, user: User, instance_id: str, login: Login) -> None:
    cloud.kill(cloud.agent)
    log = cloud.settings.agent_dir / "disks/bases/filling/of-a-server.log"
    log.touch()
    os.truncate(log, bounded_log.FILE_BYTES)
    login.run("sudo poweroff >/dev/null 2>&1 &")
    wait_for(lambda: qemu_process_of(instance_id) is None, "the guest is off", 30)
    cloud.up()
    wait_for(lambda: user.state(instance_id) == "stopped", "it is seen stopped", 30)
    wait_for(lambda: log.stat().st_size == 0, "a large log of a program that outlives the agent is emptied", 30)
    for path in log.parent.glob(f"{log.name}*"):
        path.unlink()
    assert user.describe(instance_id)["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
