"""A rig for tests, made by `stead rig up` as by a user: several hosts in this machine, and an internet."""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from stead_cli import processes, ssh
from stead_cli.operator import Operator
from stead_cli.rig_cloud import Rig, RigHost
from stead_cli.rig_places import RigPlace
from stead_cli.rig_plan import RigPlan
from tests.support import leaks
from tests.support.clients import Account
from tests.support.prepared import prepare
from tests.support.processes import BIN, clean_environment
from tests.support.real_cloud import EMULATOR_LINES, User
from tests.support.waiting import wait_for


@dataclass
class TestRig:
    """A rig below its own folder, with helpers for tests."""

    __test__ = False  # else pytest would collect this class as tests

    hosts_wanted: int = 3
    pools: tuple[str, ...] = ()  # further storage pools, as `rig up` takes them
    zones: int = 1
    folder: Path = field(default_factory=lambda: Path(f"/var/tmp/stead-rig-{os.getpid()}-{secrets.token_hex(3)}"))
    ids: dict[str, str] = field(default_factory=dict)  # of hosts, by name
    image_id: str = ""

    @property
    def plan(self) -> RigPlan:
        return RigPlan(self.folder, hosts=self.hosts_wanted, pools=" ".join(self.pools), zones=self.zones)

    @property
    def rig(self) -> Rig:
        return Rig(self.plan)

    @property
    def hosts(self) -> list[RigHost]:
        return self.rig.hosts

    @property
    def internet(self) -> RigPlace:
        """The place that simulates the internet: `.run("ping", …)`."""
        return self.rig.internet

    def stead(self, *arguments: str, timeout: float = 240) -> "subprocess.CompletedProcess[str]":
        """Run the command line with this rig, whatever its status."""
        return subprocess.run(
            [str(BIN / "stead"), *arguments],
            env=clean_environment(STEAD_RIG_DIR=str(self.folder), STEAD_STATE_DIR=str(self.folder)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def stead_well(self, *arguments: str) -> str:
        """Run the command line; fail with its output and the logs' ends if it fails."""
        done = self.stead(*arguments)
        assert done.returncode == 0, f"stead {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}\n{self.log_ends()}"
        return done.stdout

    def up(self) -> dict[str, Any]:
        """Make the rig, or the parts that do not run; return the JSON output of `rig up`."""
        settings = [self.plan.host_settings(number) for number in self.plan.numbers]
        prepare(self.plan.cloud.image_dir, *(each.agent_dir for each in settings))
        options = [f"--hosts={self.hosts_wanted}", f"--zones={self.zones}", *(f"--pool={pool}" for pool in self.pools)]
        said: dict[str, Any] = json.loads(self.stead_well("rig", "up", *options, "--output", "json"))
        self.ids, self.image_id = said["hosts"], said["image_id"]
        return said

    def down(self) -> None:
        """End the rig and remove all that it made."""
        self.stead_well("rig", "down")
        assert not self.folder.exists()

    def keep_logs(self, folder: Path) -> None:
        """Copy the logs that explain a failure."""
        for log in self.folder.rglob("*.log"):
            target = folder / self.folder.name / log.relative_to(self.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, target)

    def log_ends(self) -> str:
        """The ends of the logs of controller and agents."""
        logs = [self.rig.controller.log_file, *(host.agent.log_file for host in self.hosts)]
        return "\n".join(f"--- {log.relative_to(self.folder)}\n{processes.last_lines(log, 25)}" for log in logs)

    def emulator_log_end(self, instance_id: str) -> str:
        """The end of the log of a guest's QEMU, on the hosts where it has run."""
        logs = (self.folder / "hosts").glob(f"*/libvirt/log/qemu/{instance_id}.log")
        return "\n".join(processes.last_lines(log, EMULATOR_LINES) for log in logs)

    @property
    def operator(self) -> Operator:
        """A client of the operators' services."""
        return Operator(self.plan.cloud)

    def new_account(self) -> Account:
        """Another account, created by the command line."""
        name = f"test-{secrets.token_hex(6)}"
        content = json.loads(self.stead_well("account", "create", name, "--output", "json"))
        return Account(
            content["account_id"],
            content["access_key_id"],
            content["secret_access_key"],
            endpoint=self.plan.cloud.https_endpoint,
            ca_file=self.plan.cloud.ca_file,
        )

    @contextmanager
    def only(self, host: RigHost) -> Iterator[None]:
        """Place new instances only on one host while the context is open."""
        others = [host_id for name, host_id in self.ids.items() if name != host.name]
        for host_id in others:
            self.operator.set_schedulable(host_id, schedulable=False)
        try:
            yield
        finally:
            for host_id in others:
                self.operator.set_schedulable(host_id, schedulable=True)

    def wait_until_up(self) -> None:
        """Wait until all hosts' agents have reported to the controller."""
        wait_for(
            lambda: all(host.state in ("up", "cordoned") for host in self.operator.list_hosts()),
            "all hosts are up",
            30,
            poll=0.2,
        )

    def inventories(self) -> dict[str, leaks.HostInventory]:
        """What Stead has on each host, for the leak check."""
        return {host.name: leaks.take_inventory(host.place) for host in self.hosts if host.place.runs}


@dataclass
class RigUser(User):
    """A user with an account on a rig."""

    rig: TestRig = field(kw_only=True)

    def _questions(self, instance_id: str) -> dict[str, Callable[[], str]]:
        """Also how the internet and all hosts would reach public addresses, and whom they know as neighbours."""

        def neighbours(place: RigPlace) -> str:
            asked = (("-4", "route", "show", "table", "all"), ("neigh",), ("neigh", "show", "proxy"))
            return "\n".join(place.run("ip", *words).stdout for words in asked)

        places = [self.rig.internet, *(host.place for host in self.rig.hosts)]
        return super()._questions(instance_id) | {
            f"routes and neighbours of {place.name}": partial(neighbours, place) for place in places
        }

    def run_from_internet(self, login: ssh.Login, command: str) -> str:
        """Run a command in a guest by SSH from the internet, which its group must allow; fail with ssh's output."""
        done = self.rig.internet.run(*login.words(command))
        assert done.returncode == 0, f"{login.address}: {done.stderr}"
        return done.stdout
