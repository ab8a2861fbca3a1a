"""kill -9 of controller and agent, during and after a launch: guests are adopted untouched, half-made ones finished."""

import contextlib
import json
import os
import select
import signal
import threading
from collections import deque
from collections.abc import Iterator

from botocore.exceptions import BotoCoreError

from stead_cli import processes
from stead_cli.processes import Program
from stead_cli.ssh import Login
from stead_proto import bounded_log
from stead_proto.process_identity import identity_of
from tests.support.real_cloud import RealCloud, User, qemu_process_of
from tests.support.waiting import wait_for

BOOT = "cat /proc/sys/kernel/random/boot_id"


def test_a_launch_its_guest_and_the_guests_end_survive_kills(real_cloud: RealCloud, user: User) -> None:
    instance_id = _launch_survives_a_kill(real_cloud, user, real_cloud.controller)
    login = user.login(instance_id)
    _running_guest_is_adopted_untouched(real_cloud, user, instance_id, login)
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


def test_the_controllers_parent_is_replaced_without_up(real_cloud: RealCloud, user: User) -> None:
    """A client calls all the while: each call that fails is repeated, and none is answered wrongly."""
    program = real_cloud.controller
    parents = [processes.find(program)]
    assert parents[-1]
    for _ in range(2):
        with _called(user) as answered:
            assert _kill_one(program) == parents[-1]
            answered.clear()
            wait_for(lambda: len(answered) > 10, "the client has further answers", 30)
        parents.append(processes.find(program))
        assert parents[-1]
        assert parents[-1] not in parents[:-1]
        assert program.pid_file.read_text() == identity_of(parents[-1]), "so other users than root see that it runs"
        assert json.loads(real_cloud.stead_well("status", "--output", "json"))["programs"][0]["pid"] == parents[-1]
    real_cloud.up()
    assert processes.find(program) == parents[-1], "it ran, so `up` had nothing to do"
    real_cloud.stead_well("down")
    assert processes.find(program) is None
    real_cloud.up()


def _kill_one(program: Program) -> int:
    """Kill the process of a program that is found, and nothing else; return its id."""
    running = processes.hold(program)
    assert running is not None
    try:
        signal.pidfd_send_signal(running.pidfd, signal.SIGKILL)
        wait_for(lambda: select.select([running.pidfd], [], [], 0)[0], "it is dead", 10)
    finally:
        running.close()
    return running.pid


@contextlib.contextmanager
def _called(user: User) -> Iterator[deque[int]]:
    """Call EC2 each 20 ms meanwhile; the numbers of VPCs in the answers."""
    answered: deque[int] = deque()
    is_over = threading.Event()
    ec2 = user.account.client("ec2", connect_timeout=2, read_timeout=10)

    def call() -> None:
        while not is_over.wait(0.02):
            with contextlib.suppress(BotoCoreError):  # it is away
                answered.append(len(ec2.describe_vpcs()["Vpcs"]))

    caller = threading.Thread(target=call)
    caller.start()
    try:
        wait_for(lambda: answered, "the client is answered", 30)
        yield answered
    finally:
        is_over.set()
        caller.join()
    assert len(set(answered)) == 1


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


def _running_guest_is_adopted_untouched(cloud: RealCloud, user: User, instance_id: str, login: Login) -> None:
    boot = login.run(BOOT)
    for program in (cloud.controller, cloud.agent):
        process = qemu_process_of(instance_id)
        cloud.kill(program)
        # Static stability: guest, network and metadata go on while the program is away. By a new connection each time.
        seen = login.run(f"{BOOT}; IMDS_TOKEN=$(imds token) && export IMDS_TOKEN && imds get meta-data/instance-id")
        assert seen.strip() == f"{boot}{instance_id}", program.name
        cloud.up()
        wait_for(lambda: user.state(instance_id) == "running", "it is seen running", 30)
        assert qemu_process_of(instance_id) == process, program.name
        assert login.run(BOOT) == boot, program.name


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
