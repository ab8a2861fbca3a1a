#!/usr/bin/env python3
"""Boot a built image under plain QEMU, with DHCP and metadata of its own, and prove what an image must do.

    python3 images/try_image.py --image FILE.qcow2 --kind micro|debian

All happens in a network namespace of this process: nothing leaves the machine, nothing is left behind. The image itself
is not written to. Each proof is a line; the exit status is 0 when all hold.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from images.trial.machine import Hardware, Machine, TrialFailed, wait_until
from images.trial.metadata import FakeMetadata, instance_values
from images.trial.network import (
    ADDRESSES,
    GATEWAY,
    IPV6_ADDRESSES,
    IPV6_GATEWAY,
    MACS,
    METADATA,
    MTU,
    build_network,
    enter_own_namespace,
    run_checked,
    start_dhcp,
)

FIRST_INSTANCE, SECOND_INSTANCE = "i-0aaaaaaaaaaaaaaa1", "i-0bbbbbbbbbbbbbbb2"
HOST_NAME = "ip-10-99-0-10"
USER_DATA = b"#!/bin/sh\necho ran >>/var/trial-runs\necho trial user data speaks as $(id -un)\n"
DISK_MIB = 8192


@dataclass(frozen=True)
class Kind:
    """What differs between the images; times are deadlines in seconds."""

    user: str
    as_root: str
    memory_mib: int
    processors: int
    boot: float
    stop: float


KINDS = {
    "micro": Kind(user="root", as_root="", memory_mib=96, processors=1, boot=60, stop=10),
    "debian": Kind(user="debian", as_root="sudo -n ", memory_mib=512, processors=2, boot=240, stop=60),
}


@dataclass
class Report:
    """Lines of what was proven, and the times measured, in seconds."""

    as_json: bool
    times: dict[str, float] = field(default_factory=dict)
    proven: list[str] = field(default_factory=list)

    def note(self, what: str, detail: str = "") -> None:
        """Note one thing proven."""
        self.proven.append(what)
        if not self.as_json:
            print(f"ok  {what}{': ' if detail else ''}{detail}", flush=True)

    def time(self, what: str, seconds: float) -> None:
        """Note a time measured."""
        self.times[what] = round(seconds, 2)
        if not self.as_json:
            print(f"    {what}: {seconds:.2f} s", flush=True)


@dataclass
class Trial:
    """All that the proofs share: one disk, one guest at a time."""

    image_kind: str
    kind: Kind
    hardware: Hardware
    folder: Path
    disk: Path
    metadata: FakeMetadata
    report: Report

    @property
    def key(self) -> Path:
        """The private SSH key whose public half the metadata service gives."""
        return self.folder / "key"

    def become(self, instance_id: str, user_data: bytes) -> None:
        """Make the metadata service speak of another instance."""
        public = self.key.with_suffix(".pub").read_text(encoding="ascii")
        self.metadata.values = instance_values(
            instance_id,
            host_name=HOST_NAME,
            mac=MACS[0],
            address=ADDRESSES[0],
            ssh_key=public,
            user_data=user_data,
        )

    def start(self, name: str) -> Machine:
        """Start the guest and wait for its SSH banner; a guest that sends none is ended."""
        with ExitStack() as unless_it_comes:
            machine = Machine(self.hardware, self.disk, self.folder, self.key, self.kind.user)
            unless_it_comes.enter_context(machine)
            self.report.time(f"{name}: SSH banner", machine.wait_for_ssh(self.kind.boot))
            unless_it_comes.pop_all()
        return machine

    def root(self, machine: Machine, command: str) -> str:
        """Run a shell command as root in the guest."""
        quoted = command.replace("'", "'\\''")
        return machine.ssh(f"{self.kind.as_root}sh -c '{quoted}'")


def prove_identity(trial: Trial, machine: Machine) -> None:
    """SSH key, host name, DHCP's MTU, metadata by token only."""
    trial.report.note("SSH with the key", trial.root(machine, "id -un").strip())
    name = machine.ssh("hostname").strip()
    if name != HOST_NAME:
        raise TrialFailed(f"host name is {name}")
    trial.report.note("host name from metadata", name)
    links = machine.ssh("cat /sys/class/net/eth0/mtu").strip()
    if links != str(MTU):
        raise TrialFailed(f"MTU is {links}, DHCP says {MTU}")
    trial.report.note("MTU from DHCP", links)
    if "PUT /latest/api/token" not in trial.metadata.requests:
        raise TrialFailed(f"no token was asked for: {trial.metadata.requests}")
    trial.report.note("metadata by IMDSv2")


def prove_user_data(trial: Trial, machine: Machine, runs: int) -> None:
    """User data ran as root ``runs`` times in the life of this disk, its output on the console."""
    if trial.image_kind == "micro":
        machine.wait_for_console("stead-micro ready", 30)
        trial.report.time("ready line", machine.seconds)
    else:
        trial.root(machine, "cloud-init status --wait >/dev/null 2>&1; test -e /var/lib/cloud/instance/boot-finished")
    seen = trial.root(machine, "cat /var/trial-runs").split()
    if len(seen) != runs:
        raise TrialFailed(f"user data ran {len(seen)} times in all, not {runs}")
    trial.report.note(f"user data ran {runs} time(s) in all")


def prove_growth(trial: Trial, machine: Machine) -> None:
    """The root file system has the size of the disk, larger than the image."""
    total = int(machine.ssh("df -Pm / | tail -n 1").split()[1])
    if total < DISK_MIB * 0.9:
        raise TrialFailed(f"root file system has {total} MiB on a disk of {DISK_MIB} MiB")
    trial.report.note("root file system grown", f"{total} MiB")


def prove_interface_hotplug(trial: Trial, machine: Machine) -> None:
    """A second interface gets its address, answers by itself, is not the way out, and goes away."""
    machine.plug_interface()
    machine.wait_for_guest(f"ip -4 addr show | grep -q '{ADDRESSES[1]}/'", 30)
    wait_until(lambda: machine.greets(ADDRESSES[1]), 30, "SSH banner at the second interface's address")
    machine.wait_for_guest(f"ip route get {GATEWAY} from {ADDRESSES[1]} | grep -q 'dev eth1'", 30)
    first = machine.ssh("ip route show default").splitlines()[0]
    if "eth0" not in first:
        raise TrialFailed(f"the first default route is {first}")
    if trial.image_kind == "micro":
        prove_ipv6(trial, machine, 1)
        machine.ssh("ip -6 route show default dev eth1 | grep -q 'metric 1025 '")
        wait_for_a_router(machine)
    machine.unplug("nic1")
    machine.wait_for_guest("! grep -q eth1 /proc/net/dev", 30)
    if trial.image_kind == "micro":
        machine.wait_for_guest("! ip -6 rule | grep -q 'lookup 101' && ! ps | grep -q '[d]hcp6.* eth1'", 30)
    trial.report.note("interface plugged and unplugged")


def wait_for_a_router(machine: Machine) -> None:
    """Have the second interface's client wait, as where there is only IPv4: it has to end with its interface, too."""
    machine.ssh(
        "kill $(cat /run/udhcpc6.eth1.pid); ip -6 route del default dev eth1;"
        " setsid /usr/lib/stead/dhcp6-client eth1 </dev/null >/dev/null 2>&1 &"
    )
    machine.wait_for_guest("ps | grep -q '[d]hcp6-client eth1'", 10)


def prove_ipv6(trial: Trial, machine: Machine, number: int) -> None:
    """Interface ``number`` gets its address by DHCPv6 and answers there, by the way that it came."""
    address = IPV6_ADDRESSES[number]
    machine.wait_for_guest(f"ip -6 addr show dev eth{number} | grep -q '{address}/128'", 30)
    wait_until(lambda: machine.greets(address), 30, f"SSH banner at {address}")
    machine.ssh(f"ip -6 route get {IPV6_GATEWAY} from {address} | grep -q 'via fe80::.* dev eth{number}'")
    if f"nameserver {IPV6_GATEWAY}" not in seen_name_servers(machine):
        raise TrialFailed(f"name servers are {seen_name_servers(machine)}")
    trial.report.note(f"IPv6 at interface {number}")


def seen_name_servers(machine: Machine) -> list[str]:
    """Return the lines of the resolver's file, addresses without superfluous zeros."""
    return [
        f"{word} {ip_address(rest)}" if word == "nameserver" else line
        for line in machine.ssh("cat /etc/resolv.conf").splitlines()
        for word, _, rest in [line.partition(" ")]
    ]


def prove_disk_hotplug(trial: Trial, machine: Machine) -> None:
    """A disk plugged in is found by its serial, takes a file system and data, and goes away."""
    serial = "vol0fedcba9876543210"
    blank = trial.folder / "blank.raw"
    with blank.open("wb") as file:
        file.truncate(64 << 20)
    machine.plug_disk(blank, serial)
    link = f"/dev/disk/by-id/virtio-{serial}"
    machine.wait_for_guest(f"[ -e {link} ]", 30)
    trial.root(machine, f"mkfs.ext4 -q {link} && mount {link} /mnt && echo x >/mnt/x && umount /mnt")
    machine.unplug("blk1")
    machine.wait_for_guest(f"[ ! -e {link} ]", 30)
    run_checked(["e2fsck", "-fn", str(blank)])
    trial.report.note("disk plugged, formatted and unplugged")


def prove_metadata_client(trial: Trial, machine: Machine) -> None:
    """Micro's own ``imds`` and ``http`` answer as their help says."""
    answer = machine.ssh("imds get meta-data/instance-id")
    refused = machine.ssh(f"http GET http://{METADATA}/latest/meta-data/instance-id -i; echo status $?")
    missing = machine.ssh("imds get meta-data/none; echo status $?")
    silent = machine.ssh("http GET http://127.0.0.1:9/ ; echo status $?")
    if (answer, missing, silent) != (FIRST_INSTANCE, "status 1\n", "status 2\n") or "401" not in refused:
        raise TrialFailed(f"imds and http say {[answer, refused, missing, silent]}")
    sudo = machine.ssh("sudo -n id -u", user="ec2-user").strip()
    if sudo != "0":
        raise TrialFailed(f"sudo as ec2-user gives uid {sudo}")
    trial.report.note("imds, http and sudo in micro")


def prove_pushed_keys(trial: Trial, machine: Machine) -> None:
    """A key of EC2 Instance Connect lets its user in while the metadata service has it, and nobody else."""
    key, path = trial.folder / "pushed", f"meta-data/managed-ssh-keys/active-keys/{trial.kind.user}"
    run_checked(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "pushed", "-f", str(key)])

    def lets_in(user: str) -> bool:
        try:
            return machine.ssh("id -un", user=user, key=key).strip() == user
        except TrialFailed as refusal:
            if "Permission denied" in str(refusal):
                return False
            raise

    public = key.with_suffix(".pub").read_bytes()
    seen = [lets_in(trial.kind.user)]
    trial.metadata.values = {**trial.metadata.values, path: b"#Timestamp=1\n" + public}
    seen += [lets_in(trial.kind.user), lets_in("root")]
    trial.metadata.values = {each: value for each, value in trial.metadata.values.items() if each != path}
    seen.append(lets_in(trial.kind.user))
    if seen != [False, True, False, False]:
        raise TrialFailed(f"before, with and without the pushed key, and as root: {seen}")
    trial.report.note("a pushed key lets its user in while it is there")


def first_boot(trial: Trial) -> str:
    """Prove all of a first boot and the power button; return the host key."""
    trial.become(FIRST_INSTANCE, USER_DATA)
    with trial.start("first boot") as machine:
        prove_identity(trial, machine)
        prove_user_data(trial, machine, runs=1)
        machine.wait_for_console("trial user data speaks as root", 5)
        trial.report.note("output of user data on the console")
        prove_growth(trial, machine)
        if trial.image_kind == "micro":
            prove_metadata_client(trial, machine)
            prove_ipv6(trial, machine, 0)
        else:
            prove_pushed_keys(trial, machine)
        host_key = read_host_key()
        if host_key.split()[1] not in machine.console():
            raise TrialFailed(f"the host key {host_key} is not on the console: {machine.console()}")
        trial.report.note("host key on the console")
        prove_interface_hotplug(trial, machine)
        prove_disk_hotplug(trial, machine)
        machine.press_power_button()
        trial.report.time("power button to machine off", machine.wait_for_end(trial.kind.stop))
        trial.report.note("power button")
    return host_key


def second_boot(trial: Trial, host_key: str) -> None:
    """Prove that a further boot of the same instance repeats nothing, and that ``poweroff`` and ``reboot`` work."""
    with trial.start("second boot") as machine:
        prove_user_data(trial, machine, runs=1)
        if read_host_key() != host_key:
            raise TrialFailed("the host key changed between two boots of one instance")
        trial.report.note("same host key")
        before = boot_id(machine)
        stop_from_inside(trial, machine, "reboot")
        wait_until(lambda: _boot_id_is_other(machine, before), trial.kind.boot, "the guest came back from reboot")
        trial.report.note("reboot from inside")
        stop_from_inside(trial, machine, "poweroff")
        machine.wait_for_end(trial.kind.stop)
        trial.report.note("poweroff from inside")


def other_instance(trial: Trial, host_key: str) -> None:
    """Prove that the disk, started as another instance, makes itself that instance's; user data comes gzipped."""
    trial.become(SECOND_INSTANCE, gzip.compress(USER_DATA))
    with trial.start("as another instance") as machine:
        prove_user_data(trial, machine, runs=2)
        if read_host_key() == host_key:
            raise TrialFailed("another instance has the first one's host key")
        trial.report.note("new host key for another instance")
        stop_from_inside(trial, machine, "poweroff")  # micro may not listen to its power button yet
        machine.wait_for_end(trial.kind.stop)


def read_host_key() -> str:
    """Return type and key that the guest's SSH server shows (``ssh-ed25519 AAAA…``)."""
    scanned = run_checked(["ssh-keyscan", "-t", "ed25519", ADDRESSES[0]]).split()
    return " ".join(scanned[-2:])


def boot_id(machine: Machine) -> str:
    """Return what the kernel calls this boot."""
    return machine.ssh("cat /proc/sys/kernel/random/boot_id")


def _boot_id_is_other(machine: Machine, before: str) -> bool:
    try:
        return boot_id(machine) != before
    except (TrialFailed, subprocess.TimeoutExpired):  # still on its way: asked again until the deadline
        return False


def stop_from_inside(trial: Trial, machine: Machine, command: str) -> None:
    """Give ``poweroff`` or ``reboot`` in the guest; the connection may end before the status comes."""
    try:
        trial.root(machine, command)
    except TrialFailed as end:
        if "status 255" not in str(end):
            raise


def run_trial(trial: Trial, boots: int) -> None:
    """Prove all, in as many boots as wanted: 1 first boot, 2 the same instance again, 3 another instance."""
    host_key = first_boot(trial)
    if boots > 1:
        second_boot(trial, host_key)
    if boots > 2:
        other_instance(trial, host_key)


def prepare(options: argparse.Namespace, folder: Path, report: Report) -> Trial:
    """Build network, key, disk and metadata service."""
    kind = KINDS[options.kind]
    build_network()
    run_checked(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "trial", "-f", str(folder / "key")])
    disk = folder / "disk.qcow2"
    image = options.image.resolve()
    run_checked(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image), str(disk), f"{DISK_MIB}M"])
    return Trial(
        image_kind=options.kind,
        kind=kind,
        hardware=Hardware(
            memory_mib=options.memory or kind.memory_mib,
            processors=options.processors or kind.processors,
            machine=options.machine,
            accelerator=options.accelerator,
        ),
        folder=folder,
        disk=disk,
        metadata=FakeMetadata(METADATA, {}, tokens=True),
        report=report,
    )


def what_it_was_given(trial: Trial, dhcp: subprocess.Popen[bytes]) -> str:
    """Say what the guest asked for and got: without an address it would wait in silence."""
    state = "runs" if dhcp.poll() is None else f"ended with status {dhcp.returncode}"
    words = (trial.folder / "dnsmasq.log").read_text(encoding="utf-8", errors="replace")[-2000:]
    return f"metadata: {trial.metadata.requests[-5:]}\nDHCP's server {state}:\n{words}"


def main(arguments: Sequence[str]) -> int:
    """Run as a program and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, required=True, metavar="FILE.qcow2")
    parser.add_argument("--kind", choices=sorted(KINDS), required=True)
    parser.add_argument("--boots", type=int, choices=(1, 2, 3), default=3, help="how far to go (3)")
    parser.add_argument("--memory", type=int, metavar="MIB")
    parser.add_argument("--processors", type=int, metavar="N")
    parser.add_argument("--machine", choices=("q35", "pc"), default="q35")
    parser.add_argument("--accelerator", choices=("tcg", "kvm"), default="tcg")
    parser.add_argument("--output-format", choices=("plain", "json"), default="plain")
    options = parser.parse_args(arguments)
    enter_own_namespace()
    report = Report(as_json=options.output_format == "json")
    begin = time.monotonic()
    failure = ""
    with tempfile.TemporaryDirectory(prefix="stead-trial-") as scratch:
        trial = prepare(options, Path(scratch), report)
        dhcp = start_dhcp(Path(scratch))
        try:
            run_trial(trial, options.boots)
        except TrialFailed as end:
            failure = f"{end}\n{what_it_was_given(trial, dhcp)}"
        finally:
            trial.metadata.close()
            dhcp.terminate()
            dhcp.wait()
    report.time("whole trial", time.monotonic() - begin)
    if report.as_json:
        print(json.dumps({"failure": failure, "proven": report.proven, "seconds": report.times}))
    elif failure:
        print(f"FAILED  {failure}")
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
