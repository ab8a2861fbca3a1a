"""P1 and P2: RunInstances on a running cloud against bare QEMU booting the same overlay with the same metadata service.

    ./stead up && eval "$(./stead env)" && .venv/bin/python -m tests.bench.launch [--rounds 7] [--until-running]

A and B alternate. A: RunInstances is called, until the first line of user data is on the console. B: the instance is
stopped, its interface stays on the host; QEMU is started by hand on a new overlay of the same base and size (the guest
grows its file system to it before user data runs), with the same MAC address and tap on the same bridge, until the
same line. P2: from the call of RunInstances until `running` is pushed to
a watcher, which the host's report does: QEMU has begun by then. With `--until-running` no guest is waited for, so that
many launches can be compared.
"""

import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import boto3
import grpc
import libvirt
from pyroute2 import IPRoute

from stead_agent.machines.domain_xml import tb_cache_mib
from stead_proto import tls
from stead_proto.v1 import compute_pb2, compute_pb2_grpc

P1_LIMIT = 1.10  # of a tiny guest
P2_LIMIT = 0.600
BOOT_SECONDS = 120
WARMING = 1  # rounds that are not counted: they warm the page cache for both
MARK = "the first line of user data"
USER_DATA = f"#!/bin/sh\necho '{MARK}' >/dev/console\n"


def main() -> int:
    """Measure, print the raw values, the figures and their limits; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--state-dir", type=Path, default=Path("/var/lib/stead"))
    parser.add_argument("--instance-type", default="stead.tiny")
    parser.add_argument("--until-running", action="store_true", help="only P2: no guest is waited for")
    options = parser.parse_args()
    bench = Bench(options.state_dir, options.instance_type)
    stead, bare, answered, running = [], [], [], []
    for number in range(1 - WARMING, options.rounds + 1):
        launch = bench.launch()
        if not options.until_running:
            seconds = bench.wait_for_user_data(launch)
            bare_seconds = bench.boot_bare(launch.instance_id)
        bench.terminate(launch.instance_id)
        if number < 1:
            continue
        answered.append(launch.answered - launch.called)
        running.append(launch.running - launch.called)
        if not options.until_running:
            stead.append(seconds)
            bare.append(bare_seconds)
            print(
                f"round {number}: Stead {seconds:.2f} s, bare QEMU {bare_seconds:.2f} s, running {running[-1]:.3f} s",
                flush=True,
            )
    ratio = statistics.median(stead) / statistics.median(bare) if stead else 0.0
    p50 = statistics.median(running)
    own = resource.getrusage(resource.RUSAGE_SELF)
    if stead:
        print(f"P1 user data: {ratio:.3f} x bare QEMU (limit {P1_LIMIT})  {'ok' if ratio <= P1_LIMIT else 'MISSED'}")
    print(f"RunInstances answered: p50 {statistics.median(answered) * 1000:.1f} ms")
    print(f"P2 running: p50 {p50 * 1000:.0f} ms (limit {P2_LIMIT * 1000:.0f})  {'ok' if p50 <= P2_LIMIT else 'MISSED'}")
    print(f"client CPU {own.ru_utime + own.ru_stime:.1f} s for {options.rounds} rounds")
    return 0 if ratio <= P1_LIMIT and p50 <= P2_LIMIT else 1


class Launch(NamedTuple):
    """An instance, and when RunInstances was called, when it answered and when it was `running`: monotonic seconds."""

    instance_id: str
    called: float
    answered: float
    running: float


class Bench:
    """A cloud on this machine, and QEMU beside it."""

    def __init__(self, state_dir: Path, instance_type: str) -> None:
        self._ec2 = boto3.client("ec2")
        self._agent = state_dir / "agent"
        self._type = instance_type
        images = self._ec2.describe_images(Filters=[{"Name": "name", "Values": ["stead-micro*"]}])["Images"]
        self._image = max(images, key=lambda image: image["CreationDate"])["ImageId"]
        self._libvirt = libvirt.open("qemu:///system")
        self._netlink = IPRoute()
        ca_pem = Path(os.environ["AWS_CA_BUNDLE"]).read_bytes()
        channel = grpc.secure_channel(
            f"127.0.0.1:{os.environ.get('STEAD_ENROLMENT_PORT', '8776')}",
            grpc.ssl_channel_credentials(ca_pem),
            options=[("grpc.ssl_target_name_override", tls.CONTROLLER_NAME)],
        )
        self._compute = compute_pb2_grpc.ComputeStub(channel)
        self._key = (
            ("stead-access-key", os.environ["AWS_ACCESS_KEY_ID"]),
            ("stead-secret-key", os.environ["AWS_SECRET_ACCESS_KEY"]),
        )

    def launch(self) -> Launch:
        """Run an instance, until it is `running`."""
        watch = self._compute.Watch(compute_pb2.WatchRequest(), metadata=self._key)
        while not next(watch).synced:
            pass
        called = time.monotonic()
        answer = self._ec2.run_instances(
            ImageId=self._image, InstanceType=self._type, MinCount=1, MaxCount=1, UserData=USER_DATA
        )
        answered = time.monotonic()
        instance_id = answer["Instances"][0]["InstanceId"]
        for event in watch:
            if event.instance.instance_id == instance_id and event.instance.state == "running":
                break
        running = time.monotonic()
        watch.cancel()
        return Launch(instance_id, called, answered, running)

    def wait_for_user_data(self, launch: Launch) -> float:
        """Wait until its user data ran; give the seconds since the call."""
        wait_for_mark(self._agent / "consoles" / launch.instance_id / "1.log")
        return time.monotonic() - launch.called

    def boot_bare(self, instance_id: str) -> float:
        """Stop the instance and boot its disk's base in a QEMU of our own; give the seconds until user data ran."""
        domain = self._libvirt.lookupByName(instance_id)
        description = domain.XMLDesc()
        self._ec2.stop_instances(InstanceIds=[instance_id], Force=True)
        self._ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance_id], WaiterConfig={"Delay": 1})
        plug = Plug.read(description)
        (volume,) = self._ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}])[
            "Volumes"
        ]
        overlay, console = self._agent / "disks" / "bare.qcow2", self._agent / "bare.log"
        base = self._agent / "disks" / "bases" / f"{volume['SnapshotId']}.raw"
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._tap(plug))
            stack.callback(overlay.unlink, missing_ok=True)
            stack.callback(console.unlink, missing_ok=True)
            begin = time.monotonic()
            create = [
                "qemu-img",
                "create",
                "-q",
                "-f",
                "qcow2",
                "-b",
                base,
                "-F",
                "raw",
                overlay,
                f"{volume['Size']}G",
            ]
            subprocess.run(create, check=True)
            process = subprocess.Popen(self._command(plug, overlay, console), stdin=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            wait_for_mark(console)
            return time.monotonic() - begin

    def terminate(self, instance_id: str) -> None:
        """End an instance and wait until it is gone."""
        self._ec2.terminate_instances(InstanceIds=[instance_id])
        self._ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance_id], WaiterConfig={"Delay": 1})

    def _command(self, plug: "Plug", overlay: Path, console: Path) -> list[str]:
        kind = self._ec2.describe_instance_types(InstanceTypes=[self._type])["InstanceTypes"][0]
        vcpus, mib = kind["VCpuInfo"]["DefaultVCpus"], kind["MemoryInfo"]["SizeInMiB"]
        accelerator = "kvm" if plug.kvm else f"tcg,thread=multi,tb-size={tb_cache_mib(mib << 20, vcpus)}"
        return [
            "qemu-system-x86_64",
            *("-nodefaults", "-no-user-config", "-display", "none", "-serial", f"file:{console}"),
            *("-machine", f"{plug.machine},hpet=off", "-accel", accelerator, "-cpu", "host" if plug.kvm else "max"),
            *("-smp", str(vcpus), "-m", str(mib)),
            *("-drive", f"file={overlay},format=qcow2,if=none,id=root", "-device", "virtio-blk-pci,drive=root"),
            *("-netdev", f"tap,id=net,ifname={plug.tap},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=net,mac={plug.mac},romfile="),
            *("-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"),
            *("-smbios", f"type=1,manufacturer=Amazon EC2,uuid={plug.uuid}"),
        ]

    @contextlib.contextmanager
    def _tap(self, plug: "Plug") -> Iterator[None]:
        """Make the tap as libvirt does: a port of the subnet's bridge, isolated from the other ports."""
        self._netlink.link("add", ifname=plug.tap, kind="tuntap", mode="tap")
        (index,) = self._netlink.link_lookup(ifname=plug.tap)
        (bridge,) = self._netlink.link_lookup(ifname=plug.bridge)
        try:
            self._netlink.link("set", index=index, master=bridge, state="up")
            self._netlink.brport("set", index=index, isolated=1)
            yield
        finally:
            self._netlink.link("del", index=index)


class Plug:
    """What of a domain's description a bare QEMU needs too."""

    def __init__(self, machine: str, uuid: str, mac: str, tap: str, bridge: str, *, kvm: bool) -> None:
        self.machine, self.uuid, self.mac, self.tap, self.bridge, self.kvm = machine, uuid, mac, tap, bridge, kvm

    @staticmethod
    def read(description: str) -> "Plug":
        """Read a running domain's XML."""
        from xml.etree import ElementTree as ET

        root = ET.fromstring(description)

        def attribute(path: str, name: str) -> str:
            element = root.find(path)
            assert element is not None, path
            return element.attrib[name]

        return Plug(
            attribute("os/type", "machine"),
            root.findtext("uuid") or "",
            attribute("devices/interface/mac", "address"),
            attribute("devices/interface/target", "dev"),
            attribute("devices/interface/source", "bridge"),
            kvm=root.attrib["type"] == "kvm",
        )


def wait_for_mark(console: Path) -> None:
    """Return when the console says that user data runs; fail when it does not in time."""
    end = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < end:
        if console.exists() and MARK.encode() in console.read_bytes():
            return
        time.sleep(0.005)  # the poll of a measurement: its grain is 5 ms of several seconds
    raise SystemExit(f"user data did not run within {BOOT_SECONDS} s: {console}")


if __name__ == "__main__":
    sys.exit(main())
