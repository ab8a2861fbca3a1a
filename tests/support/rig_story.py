"""What a type promises and a life changes, seen in real guests on a rig of three hosts; by hand, since it takes minutes.

    python -m tests.support.box .venv/bin/python -m tests.support.rig_story [PART …]

Placement groups on three hosts are in the suite (`e2e/test_rig.py`). Each part prints what it has measured; a promise
that is not held ends it with status 1.
"""

import argparse
import contextlib
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from stead_agent.credits.accounts import AccountFiles
from stead_agent.credits.ledger import PER_NANOSECOND, Ledger
from stead_cli import ssh
from stead_cli.rig_cloud import RigHost
from stead_proto import alone
from tests.support.memory import memory_of
from tests.support.real_cloud import HEARS_THE_POWER_BUTTON, qemu_process_of
from tests.support.rig import RigUser, TestRig
from tests.support.vcpu_groups import VcpuGroups
from tests.support.waiting import wait_for

BOOT: Final = "cat /proc/sys/kernel/random/boot_id"
BASELINE: Final = 20  # percent of the vCPU
MBPS: Final = (16, 32, 100)
AGENT_MIB: Final = 60.0
SPARE: Final = 1.5  # times what is limited, which guests must be able to carry
FREE_SECONDS, HELD_SECONDS, BAND_SECONDS = 60.0, 120.0, 20.0
CREDITS_TOLERANCE, BAND_TOLERANCE, GUEST_TOLERANCE = 0.02, 0.05, 0.15
# Counts on the console, so that a guest that is held need not be logged into: what it counted, in thousands.
_COUNTS: Final = "i=0; while :; do i=$((i+1)); [ $((i%1000)) = 0 ] && echo counted $((i/1000)). >/dev/ttyS0; done"
_COUNTED: Final = re.compile(r"counted (\d+)\.")


@dataclass
class Story:
    """A rig, a user of it, and what was not as promised."""

    rig: TestRig
    user: RigUser
    wrong: int = 0

    def say(self, what: str, *, holds: bool = True) -> None:
        """Print what was seen."""
        self.wrong += not holds
        print(f"{'ok' if holds else 'NOT'} {what}", flush=True)

    @property
    def ec2(self) -> Any:
        """The user's client, of which some arguments here are other than its types say."""
        return self.user.ec2

    def host_of(self, instance_id: str) -> int:
        """Return the number of the host on which an instance runs, from 0."""
        return next(
            number
            for number, host in enumerate(self.rig.hosts)
            if instance_id in host.place.run("virsh", "list", "--name").stdout.split()
        )

    def add_type(self, name: str, *options: str) -> None:
        """Add a type of one vCPU and 128 MiB."""
        self.rig.stead_well("type", "add", name, "--vcpus", "1", "--memory-mib", "128", *options)

    def is_refused(self, code: str, call: Callable[..., Any], **params: Any) -> None:
        """Call, and say whether that was refused."""
        try:
            call(**params)
        except ClientError as refusal:
            found = str(refusal.response["Error"]["Code"])
            self.say(f"{call.__name__} is refused: {found}", holds=found == code)
        else:
            self.say(f"{call.__name__} is not refused", holds=False)


# --- lives


def lives(story: Story) -> None:
    """Each life of an instance, with its boot and a file on its disk."""
    user, ec2 = story.user, story.ec2
    disk = {"DeviceName": "/dev/sda1", "Ebs": {"Encrypted": True}}
    [guest] = user.run(BlockDeviceMappings=[disk], HibernationOptions={"Configured": True})
    login = user.connect(guest)
    login.run("echo kept >/var/tmp/kept; sync")
    login = _rebooted(story, guest, login)
    login = _hibernated(story, guest, login)
    login = _stopped_and_started(story, guest, login, force=False)
    login = _stopped_and_started(story, guest, login, force=True)
    _protected(story, guest)
    login.run(f"{HEARS_THE_POWER_BUTTON}; (usleep 200000; sudo poweroff) >/dev/null 2>&1 &", timeout=60)
    user.wait("instance_stopped", [guest])
    reason = user.describe(guest)["StateReason"]["Code"]
    story.say(f"it shut itself down, and is stopped: {reason}", holds=reason == "Client.InstanceInitiatedShutdown")
    ec2.modify_instance_attribute(InstanceId=guest, InstanceInitiatedShutdownBehavior={"Value": "terminate"})
    ec2.start_instances(InstanceIds=[guest])
    user.wait("instance_running", [guest])
    user.connect(guest).run("(usleep 200000; sudo poweroff) >/dev/null 2>&1 &", timeout=60)
    user.wait("instance_terminated", [guest])
    story.say("it shut itself down, and is terminated")


def _rebooted(story: Story, guest: str, login: ssh.Login) -> ssh.Login:
    before, process = login.run(BOOT), qemu_process_of(guest)
    login.run(HEARS_THE_POWER_BUTTON, timeout=60)
    story.ec2.reboot_instances(InstanceIds=[guest])
    after = wait_for(lambda: _boot_beside(story, guest, before), "it is booted again", 300)
    story.say(f"rebooted: another boot of the same QEMU, {after[:8]}", holds=qemu_process_of(guest) == process)
    return story.user.connect(guest)


def _boot_beside(story: Story, guest: str, before: str) -> str | None:
    with contextlib.suppress(Exception):  # it may boot at this moment, whatever that does to a connection
        found = story.user.login(guest).run(BOOT)
        return found if found != before else None
    return None


def _hibernated(story: Story, guest: str, login: ssh.Login) -> ssh.Login:
    boot, keys = login.run(BOOT), ssh.host_keys(story.user.console(guest))
    began = time.monotonic()
    story.ec2.stop_instances(InstanceIds=[guest], Hibernate=True)
    story.user.wait("instance_stopped", [guest])
    saved = time.monotonic() - began
    story.ec2.start_instances(InstanceIds=[guest])
    story.user.wait("instance_running", [guest])
    login = story.user.connect(guest, keys=keys)
    story.say(f"hibernated ({saved:.1f} s), and goes on in the same boot", holds=login.run(BOOT) == boot)
    return login


def _stopped_and_started(story: Story, guest: str, login: ssh.Login, *, force: bool) -> ssh.Login:
    boot, began = login.run(BOOT), time.monotonic()
    story.ec2.stop_instances(InstanceIds=[guest], Force=force)
    story.user.wait("instance_stopped", [guest])
    seconds = time.monotonic() - began
    story.ec2.start_instances(InstanceIds=[guest])
    story.user.wait("instance_running", [guest])
    login = story.user.connect(guest)
    holds = login.run(BOOT) != boot and login.run("cat /var/tmp/kept").strip() == "kept"
    story.say(
        f"stopped{' by force' if force else ''} ({seconds:.1f} s) and started: its disk is as it was", holds=holds
    )
    return login


def _protected(story: Story, guest: str) -> None:
    ec2 = story.ec2
    for name, call in (("DisableApiStop", ec2.stop_instances), ("DisableApiTermination", ec2.terminate_instances)):
        ec2.modify_instance_attribute(InstanceId=guest, **{name: {"Value": True}})
        story.is_refused("OperationNotPermitted", call, InstanceIds=[guest])
        ec2.modify_instance_attribute(InstanceId=guest, **{name: {"Value": False}})
    story.is_refused(
        "IncorrectInstanceState", ec2.modify_instance_attribute, InstanceId=guest, InstanceType={"Value": "t3.micro"}
    )


# --- sizes


def sizes(story: Story) -> None:
    """A small type becomes a large one and a small one again, as its guest sees it."""
    seen: list[tuple[int, int]] = []
    [guest] = story.user.run(InstanceType="stead.pico")
    for name in ("stead.pico", "t3.micro", "t3.small", "stead.tiny"):
        if seen:
            story.ec2.stop_instances(InstanceIds=[guest], Force=True)
            story.user.wait("instance_stopped", [guest])
            story.ec2.modify_instance_attribute(InstanceId=guest, InstanceType={"Value": name})
            story.ec2.start_instances(InstanceIds=[guest])
            story.user.wait("instance_running", [guest])
        [known] = story.ec2.describe_instance_types(InstanceTypes=[name])["InstanceTypes"]
        promised = known["VCpuInfo"]["DefaultVCpus"], known["MemoryInfo"]["SizeInMiB"]
        words = story.user.connect(guest).run(
            "nproc; awk '/^MemTotal:/ {print $2}' /proc/meminfo; cat /sys/class/dmi/id/product_name"
        )
        vcpus, kib, product = words.split()
        seen.append((int(vcpus), int(kib) // 1024))
        kernel = promised[1] - seen[-1][1]  # what its kernel has for itself is not in MemTotal
        holds = (seen[-1][0], product) == (promised[0], name) and 0 < kernel < 48 + promised[1] // 8
        story.say(f"{name} of {promised}: the guest has {seen[-1]}, and is a {product}", holds=holds)
    story.user.terminate([guest])


# --- credits


def cpu_credits(story: Story) -> None:
    """Without limit while it is unlimited, at its baseline when it is not and has none, and without limit again."""
    story.add_type("lab.burst", "--baseline-percent", str(BASELINE))
    [guest] = story.user.run(InstanceType="lab.burst", CreditSpecification={"CpuCredits": "unlimited"})
    story.user.connect(guest).run(f"sudo sh -c '({_COUNTS}) </dev/null >/dev/null 2>&1 &'")
    process = qemu_process_of(guest)
    assert process is not None
    group = VcpuGroups(process)
    free = _use(story, guest, group, FREE_SECONDS)
    story.say(f"unlimited: {free.share:.1%} of a processor, {free.counted_per_second:.1f} thousand in a second of it")
    _set_mode(story, guest, "standard")
    wait_for(group.is_limited, "it is limited", 120)
    wait_for(lambda: _ledger(story, guest).balance <= PER_NANOSECOND * 10**9, "its credits are spent", 1800, poll=2)
    held = _use(story, guest, group, HELD_SECONDS)
    near = abs(held.share / (BASELINE / 100) - 1) <= CREDITS_TOLERANCE
    story.say(
        f"standard, without credits: {held.share:.2%} of a processor, where {BASELINE} % are its baseline", holds=near
    )
    agrees = abs(held.counted_per_second / free.counted_per_second - 1) <= GUEST_TOLERANCE
    story.say(f"the guest counts {held.counted_per_second:.1f} thousand in a second of a processor then", holds=agrees)
    _set_mode(story, guest, "unlimited")
    wait_for(lambda: not group.is_limited(), "it is free", 120)
    again = _use(story, guest, group, FREE_SECONDS)
    story.say(f"unlimited again: {again.share:.1%} of a processor", holds=again.share > 2 * held.share)
    for name, use in (("unlimited", free), ("standard", held), ("unlimited again", again)):
        off = use.ledger / use.group - 1
        said = f"{name}: the cgroup says {use.group:.2f} s, the ledger {use.ledger:.2f} s ({off:+.2%})"
        story.say(said, holds=abs(off) <= CREDITS_TOLERANCE)
    story.user.terminate([guest])


@dataclass(frozen=True)
class Use:
    """What was used in some time: seconds of a processor, by the cgroup and by the ledger; and what the guest counted."""

    seconds: float
    group: float
    ledger: float
    counted: int

    @property
    def share(self) -> float:
        """Of one processor."""
        return self.group / self.seconds

    @property
    def counted_per_second(self) -> float:
        """In thousands, for each second of a processor."""
        return self.counted / self.group


def _use(story: Story, guest: str, group: VcpuGroups, seconds: float) -> Use:
    """Measure between two moments at which the ledger has just been written."""
    began = _moment(story, guest, group)
    end = began[0] + seconds
    wait_for(lambda: time.monotonic() >= end, "it computes", seconds + 60, poll=1)
    then = _moment(story, guest, group)
    return Use(then[0] - began[0], then[1] - began[1], then[2] - began[2], then[3] - began[3])


def _moment(story: Story, guest: str, group: VcpuGroups) -> tuple[float, float, float, int]:
    before = _ledger(story, guest).spent
    spent = wait_for(lambda: (now := _ledger(story, guest).spent) != before and now, "it is counted", 60, poll=0.02)
    moment, used = time.monotonic(), group.used() / 1e9
    counted = [int(each) for each in _COUNTED.findall(story.user.console(guest))]
    return moment, used, int(spent) / PER_NANOSECOND / 1e9, counted[-1]


def _ledger(story: Story, guest: str) -> Ledger:
    settings = story.rig.plan.host_settings(story.host_of(guest) + 1)
    account = AccountFiles(settings.agent_dir / "credits").load(guest)
    assert account is not None
    return account.ledger


def _set_mode(story: Story, guest: str, mode: str) -> None:
    asked = [{"InstanceId": guest, "CpuCredits": mode}]
    done = story.ec2.modify_instance_credit_specification(InstanceCreditSpecifications=asked)
    assert done["UnsuccessfulInstanceCreditSpecifications"] == []


# --- bandwidth


def bandwidth(story: Story) -> None:
    """What one TCP connection between guests of two hosts carries, both ways, of the figure of one's type."""
    [other] = story.user.run(InstanceType="stead.tiny")
    host = story.rig.hosts[(story.host_of(other) + 1) % len(story.rig.hosts)]
    free = _both_ways(story, other, "stead.tiny", host)
    story.say(f"without a limit: {free[0]:.0f} Mbit/s sent, {free[1]:.0f} received; emulated guests can no more")
    for mbps in MBPS:
        story.add_type(f"lab.band{mbps}", "--network-mbps", f"{mbps}:{mbps}")
        found = _both_ways(story, other, f"lab.band{mbps}", host)
        for way, carried, most in zip(("sent", "received"), found, free, strict=True):
            can_tell = most > SPARE * mbps
            holds = abs(carried / mbps - 1) <= BAND_TOLERANCE or (not can_tell and carried < mbps)
            said = "" if can_tell else ", which says only that it is no more: the guests are too slow"
            story.say(f"{mbps} Mbit/s: {carried:.1f} {way}, {carried / mbps:.3f} of it{said}", holds=holds)
    story.user.terminate([other])


def _both_ways(story: Story, other: str, name: str, host: RigHost) -> tuple[float, float]:
    """What an instance of a type, on a host, sends to another one, and receives from it."""
    with story.rig.only(host):
        [made] = story.user.run(InstanceType=name)
    assert story.host_of(made) != story.host_of(other)
    logins = {each: story.user.connect(each) for each in (made, other)}
    found = [
        _carried(logins[sender], logins[receiver], story.user.describe(receiver)["PrivateIpAddress"])
        for sender, receiver in ((made, other), (other, made))
    ]
    story.user.terminate([made])
    return found[0], found[1]


def _carried(sender: ssh.Login, receiver: ssh.Login, address: str) -> float:
    """Megabits per second of content, by what the receiving guest counts of its interface, less headers."""
    receiver.run("timeout 600 nc -l -p 5001 -e wc >/dev/null 2>&1 </dev/null &")
    wait_for(lambda: _succeeds(receiver, "netstat -ltn | grep -q :5001"), "it listens", 20, poll=0.2)
    sender.run(f"timeout 600 nc {address} 5001 </dev/zero >/dev/null 2>&1 &")
    look = "cat /proc/uptime /sys/class/net/eth0/statistics/rx_bytes /sys/class/net/eth0/statistics/rx_packets"

    def seen() -> tuple[float, int, int]:
        up, _idle, received, packets = receiver.run(look).split()
        return float(up), int(received), int(packets)

    first = seen()
    wait_for(lambda: seen()[1] > first[1] + (4 << 20), "it is sent evenly", 60, poll=1)
    began = seen()
    wait_for(lambda: seen()[0] > began[0] + BAND_SECONDS, "it is sent", 120, poll=2)
    then = seen()
    sender.run("killall nc")
    wait_for(lambda: not _succeeds(receiver, "pidof nc wc"), "the connection has ended", 20, poll=0.2)
    headers = 66 * (then[2] - began[2])  # of Ethernet, IPv4 and TCP with timestamps
    return (then[1] - began[1] - headers) * 8 / (then[0] - began[0]) / 1e6


def _succeeds(login: ssh.Login, command: str) -> bool:
    return login.run(f"{command} >/dev/null 2>&1 && echo well || echo ill").strip() == "well"


# --- agents


def agents(story: Story) -> None:
    """What idle agents have of memory, a minute after they began."""
    for number in story.rig.plan.numbers:
        pid = alone.holder(story.rig.plan.host_settings(number).agent_dir / alone.FILE_NAME)
        assert pid is not None
        with contextlib.suppress(AssertionError):  # it is said below
            wait_for(partial(_is_small, pid), "it has given back what its start needed", 90, poll=2)
        found = memory_of(pid)
        kinds = ", ".join(f"{name} {found[name]:.1f}" for name in ("Rss", "Anonymous", "Pss"))
        story.say(f"the agent of host {number}: {kinds} MiB", holds=_is_small(pid))


def _is_small(pid: int) -> bool:
    return memory_of(pid)["Rss"] <= AGENT_MIB


PARTS: Final = {each.__name__: each for each in (agents, lives, sizes, cpu_credits, bandwidth)}


@contextlib.contextmanager
def _told() -> Iterator[Story]:
    rig = TestRig()
    try:
        rig.up()
        with tempfile.TemporaryDirectory() as folder:
            user = RigUser(rig, rig.new_account(), Path(folder), rig=rig)
            user.ec2.authorize_security_group_ingress(
                GroupName="default", IpProtocol="tcp", FromPort=5001, ToPort=5001, CidrIp="0.0.0.0/0"
            )
            yield Story(rig, user)
            user.terminate_all()
    finally:
        rig.down()


def main() -> int:
    """Tell the parts that are asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    asked = parser.parse_args().parts or list(PARTS)
    with _told() as story:
        for name in asked:
            print(f"--- {name}", flush=True)
            PARTS[name](story)
        return int(bool(story.wrong))


if __name__ == "__main__":
    sys.exit(main())
