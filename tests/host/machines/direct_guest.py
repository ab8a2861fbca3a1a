"""A guest whose QEMU may reach a volume's home itself."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import libvirt_qemu

from stead_agent.machines import direct_disks
from stead_agent.machines.interface import Disk, DiskHome
from stead_agent.machines.monitor import execute
from stead_proto.nbd.client import NbdClient
from tests.host.exports.conftest import CLIENT, HOME, PORT, VOLUME
from tests.host.machines.conftest import wait_for

DEVICE = "/machine/peripheral/virtio-disk1/virtio-backend"


class DirectGuest:
    """A machine that runs with a volume of another host, whose disk is used as its processor would use it."""

    def __init__(self, world, hosts, running=None):
        """Start it, or plug the volume into the guest with such a spec, which runs already."""
        self.world = world
        self.hosts = hosts
        hosts.home.daemons.serve(hosts.export())
        source = hosts.client.daemons.connect(hosts.remote())
        self.asked = 0
        world.credentials = self.credentials
        world.connect()
        self.bare = running or world.spec()
        self.spec = replace(self.bare, disks=(*self.bare.disks, Disk(VOLUME, source, "raw")))
        self.id = self.spec.id
        if running:
            world.machines.update(self.spec)
        else:
            world.machines.start(self.spec, 1)

    def credentials(self, volume_id, generation):
        self.asked += 1
        return self.hosts.authority.issue_attachment(volume_id, generation, CLIENT)

    def want(self, generation=1):
        self.world.machines.reach_homes(self.id, [DiskHome(VOLUME, generation, HOME, "127.0.0.1", PORT)])

    def go_direct(self):
        self.want()
        wait_for(self.is_direct, "the guest reaches the home itself")

    def settled(self):
        """Tell whether the agent has done what it was about to."""
        return self.world.machines.direct.is_idle()

    def seen(self):
        with self.world.machines.domain(self.id) as domain:
            return direct_disks.look(domain)

    def is_direct(self):
        return self.seen().disks[VOLUME].is_direct

    def io(self, command):
        """Have QEMU do a command of qemu-io on the disk's device, which tells nobody whether it failed."""
        with self.world.machines.domain(self.id) as domain:
            reported = libvirt_qemu.qemuMonitorCommand(
                domain, f'qemu-io -d {DEVICE} "{command}"', libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
            )
        assert reported == "", reported

    def write(self, pattern, offset, length):
        self.io(f"write -P {pattern} {offset} {length}")

    def holds(self, pattern, offset, length):
        """Tell whether the home has these bytes, as its host's proxy shows it."""
        with NbdClient(self.spec.disks[1].source.socket, VOLUME) as client:
            return client.read(offset, length) == bytes([pattern]) * length

    def connections(self):
        """List the ports of the home to which the guest's QEMU has connections."""
        pid = self.world.process_of(self.id)
        said = subprocess.run(["ss", "-Htnp"], capture_output=True, text=True, check=True).stdout
        return re.findall(rf"127\.0\.0\.1\]?:(\d+) +users:.*\bpid={pid}\b", said)

    def limit(self, iops):
        disks = (*self.bare.disks, replace(self.spec.disks[1], iops=iops))
        self.world.machines.update(replace(self.spec, disks=disks))

    def of_ours(self):
        """List what of ours is in QEMU, and where it read its key."""
        seen = self.seen()
        folders = Path(self.world.daemon.root).rglob(f"domain-*-{self.id}/stead-*")
        with self.world.machines.domain(self.id) as domain:
            jobs = [each["id"] for each in execute(domain, "query-jobs")]
        return [*seen.nodes, *seen.sources, *jobs, *seen.objects, *folders]
