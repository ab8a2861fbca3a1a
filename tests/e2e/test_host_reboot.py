"""A host reboots while its controller is away: the agent alone brings guests and network back, from what it has on disk."""

import re
from pathlib import Path

from stead_cli import processes, ssh
from stead_cli.ssh import Login
from tests.support import box, emulator, leaks
from tests.support.real_cloud import BOOT_SECONDS, RealCloud, User, qemu_process_of
from tests.support.waiting import wait_for

_MARK = "/var/tmp/user-data-ran"
_USER_DATA = f"#!/bin/sh\necho once >>{_MARK}; sync\n"


def test_the_agent_alone_repairs_a_rebooted_host(tmp_path: Path) -> None:
    box.run_in_another(_reboot_or_try_again, tmp_path)


def _reboot_or_try_again(folder: Path) -> None:
    """The controller is away, so nobody recovers a guest whose QEMU dies of itself at the host's second boot."""
    emulator.booted(lambda: _reboot(folder))


def _reboot(folder: Path) -> None:
    before = leaks.take_inventory()
    cloud = RealCloud()
    try:
        cloud.up()
        user = User(cloud, cloud.new_account(), folder)
        [instance_id] = user.run(UserData=_USER_DATA)
        login = user.login(instance_id)
        wait_for(lambda: login.run(f"cat {_MARK} || true"), "user data has run", BOOT_SECONDS)
        first = _seen_inside(login)
        described = user.describe(instance_id)

        box.reboot()
        assert leaks.take_inventory().beyond(before) == []  # a reboot leaves no kernel object and no process
        processes.start(cloud.agent)
        _wait_for_answer(user, instance_id, login.address)
        again = _seen_inside(login)
        assert again.pop("boot") != first.pop("boot")
        assert again == first, f"{again} after, {first} before"
        assert again["address"] == again["reported address"] == described["PrivateIpAddress"]
        assert again["reported public address"] == described["PublicIpAddress"] == login.address
        assert again["reported id"] == instance_id
        assert again["user data"] == "once"
        assert processes.find(cloud.controller) is None

        process = qemu_process_of(instance_id)
        cloud.up()
        wait_for(lambda: user.state(instance_id) == "running", "it is seen running", 30)
        seen = user.describe(instance_id)
        for name in ("PrivateIpAddress", "PublicIpAddress", "LaunchTime"):
            assert seen[name] == described[name]
        assert qemu_process_of(instance_id) == process
        user.terminate([instance_id])
        assert qemu_process_of(instance_id) is None
    finally:
        cloud.purge()
    leaks.assert_nothing_beyond(before, "a host that rebooted")


def _wait_for_answer(user: User, instance_id: str, address: str) -> None:
    """Wait until SSH answers; raises EmulatorDiedError when that is in vain."""

    def answers() -> bool:
        emulator.check_words(user.cloud.emulator_log_end(instance_id))
        return ssh.answers(address)

    wait_for(answers, "the guest answers again", BOOT_SECONDS, explain=lambda: user.explain(instance_id))


def _seen_inside(login: Login) -> dict[str, str]:
    """What the guest says of itself, and what DHCP and metadata tell it now."""
    reported = {"id": "instance-id", "address": "local-ipv4", "public address": "public-ipv4"}
    questions = {
        "boot": "cat /proc/sys/kernel/random/boot_id",
        "address": "ip -4 -o addr show dev eth0",
        "user data": f"cat {_MARK}",
        "lease": "sudo udhcpc -i eth0 -n -q -f -s /bin/true 2>&1",
        **{f"reported {what}": f"imds get meta-data/{path}" for what, path in reported.items()},
    }
    script = "; echo ---; ".join(questions.values())
    output = login.run(f"IMDS_TOKEN=$(imds token) && export IMDS_TOKEN; {script}")
    seen = dict(zip(questions, (part.strip() for part in output.split("---")), strict=True))
    for what in ("address", "lease"):
        found = re.search(r"(?:inet|lease of) ([\d.]+)", seen[what])
        assert found, f"{what}: {seen[what]}"
        seen[what] = found[1]
    return seen
