"""What an operator does with `ansible/` and machines of a rack, from bare ones to bare ones again.

The suite tells a short version (`e2e/test_rack.py`). By hand: `python -m tests.support.rack_story` tells all of it, on three machines.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from stead_cli import release_file
from tests.support import box, micro, outside_clients
from tests.support.clients import Account
from tests.support.postgresql import PROGRAMS
from tests.support.processes import ROOT, clean_environment
from tests.support.rack import GATEWAY, POOL, Rack, Server, rack
from tests.support.waiting import wait_for

CLIENTS: Final = ("ansible", "release", "ssh-server")
_RECAP: Final = re.compile(r"^(\S+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)
_SECONDS: Final = 900.0
_NOBODY: Final = "192.0.2.1/32"  # RFC 5737


def make_release(folder: Path) -> Path:
    """Make a release of this checkout, of libraries that were fetched before, and unpack its playbooks beside it."""
    made = release_file.make(ROOT, folder, outside_clients.folder_of("release") / "wheels", allow_dirty=True)
    with tarfile.open(made) as tar:
        members = [member for member in tar.getmembers() if member.name.split("/")[1] == "ansible"]
        tar.extractall(folder, members, filter="tar")
    return made


def another_release(made: Path) -> Path:
    """Make what an upgrade may go to: the same files as a release under a later name."""
    name = f"{made.stem}-next"
    later = made.with_name(f"{name}.tar")
    with tarfile.open(made) as old, tarfile.open(later, "w", format=tarfile.PAX_FORMAT) as new:
        for member in old.getmembers():
            content = old.extractfile(member)
            member.name = member.name.replace(made.stem, name, 1)
            # A long name is there, too, and would win.
            member.pax_headers = {word: value for word, value in member.pax_headers.items() if word != "path"}
            new.addfile(member, content)
    return later


@dataclass
class Operator:
    """Who has an inventory of a rack's machines, and Ansible; the first machine is the controller's."""

    rack: Rack
    release: Path
    mitogen: bool = True  # a third of the time; else as operators do it
    monitors: bool = field(default_factory=lambda: shutil.which("prometheus") is not None)
    has_database: bool = False  # on the last machine, which is no host then

    @property
    def controller(self) -> Server:
        """The controller's machine."""
        return self.rack.servers[0]

    @property
    def members(self) -> list[Server]:
        """The machines of the controller and of hosts."""
        return self.rack.servers[:-1] if self.has_database else self.rack.servers

    @property
    def playbooks(self) -> Path:
        """The folder of the release's playbooks."""
        return self.rack.folder / self.release.stem / "ansible"

    def inventory(self) -> Path:
        """Write the inventory, in JSON, which is YAML, too."""
        hosts = {server.name: {"ansible_host": server.address} for server in self.rack.servers}
        first, *others = [server.name for server in self.members]
        database = self.rack.servers[-1].name if self.has_database else ""
        content = {
            "stead": {
                "vars": {
                    "ansible_user": "root",
                    "ansible_python_interpreter": "/usr/bin/python3",
                    "ansible_ssh_common_args": " ".join(self.rack.ssh_options),
                    "stead_public_pool": POOL,
                    "stead_backup_passphrase": "correct horse battery",
                    # One of the machine's own: others would be set for this whole machine.
                    "machine_sysctls": {"net.ipv4.conf.all.log_martians": 1},
                },
                "children": {
                    "controller": {"hosts": {first: hosts[first]}},
                    "agents": {"hosts": {name: hosts[name] for name in others}},
                    **({"postgresql": {"hosts": {database: hosts[database]}}} if database else {}),
                    # As all packages, it must be on the machine whose files they see.
                    **({"monitoring": {"hosts": {first: {}}}} if self.monitors else {}),
                },
            }
        }
        path = self.rack.folder / "inventory.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    def play(self, playbook: str, *arguments: str, release: Path | None = None, fails: bool = False) -> dict[str, int]:
        """Run a playbook that must end well, or must not, and return how many tasks changed something, by machine."""
        venv = outside_clients.folder_of("ansible") / "venv"
        environment = {"HOME": str(self.rack.folder), "ANSIBLE_NOCOLOR": "1"}
        if self.mitogen:
            [strategies] = venv.glob("lib/*/site-packages/ansible_mitogen/plugins/strategy")
            environment |= {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(strategies)}
        done = subprocess.run(
            [
                str(venv / "bin/ansible-playbook"),
                f"--inventory={self.inventory()}",
                f"--extra-vars=stead_release={release or self.release}",
                playbook,
                *arguments,
            ],
            cwd=self.playbooks,
            env=clean_environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{playbook}:\n{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
        (self.rack.folder / "said").write_text(done.stdout + done.stderr, encoding="utf-8")
        return {name: int(changed) for name, _, changed, *_ in _RECAP.findall(done.stdout)}

    def account(self) -> Account:
        """The cloud's first account, as its operator has it."""
        read = self.controller.machine.must
        key = json.loads(read("cat", "/var/lib/stead/controller/credentials.json"))
        ca = self.rack.folder / "ca.pem"
        ca.write_text(read("cat", "/var/lib/stead/ca.pem"), encoding="ascii")
        endpoint = f"https://{self.controller.address}:8774"
        return Account(key["account_id"], key["access_key_id"], key["secret_access_key"], endpoint, ca)

    def hosts(self) -> dict[str, Any]:
        """The controller's hosts by their names."""
        shown = json.loads(self.controller.machine.must("stead", "host", "list", "--output", "json"))
        return {row["hostname"]: row for row in shown}


@dataclass
class Guest:
    """An instance, and the key that its owner logs in with."""

    id: str
    address: str
    key: Path

    def says(self, command: str) -> str:
        """Run a command in it; nothing where it does not answer."""
        options = (
            "-oBatchMode=yes",
            "-oStrictHostKeyChecking=no",
            "-oUserKnownHostsFile=/dev/null",
            "-oConnectTimeout=5",
        )
        login = ["ssh", "-q", *options, f"-oIdentityFile={self.key}", f"debian@{self.address}", command]
        done = subprocess.run(login, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    def boot(self) -> str:
        """The id of its boot, when it answers; waits for that."""
        return wait_for(
            lambda: self.says("cat /proc/sys/kernel/random/boot_id"), f"{self.id} answers by SSH", 120, poll=0.5
        )


def launch(operator: Operator) -> Guest:
    """Launch an instance as a user would, with a public address; returns when it answers."""
    ec2 = operator.account().client("ec2")
    [image] = ec2.describe_images(Owners=["amazon"])["Images"]
    key = operator.rack.folder / "guest.pem"
    key.touch(mode=0o600)
    key.write_text(ec2.create_key_pair(KeyName="me", KeyType="ed25519")["KeyMaterial"], encoding="ascii")
    ec2.authorize_security_group_ingress(
        GroupName="default", IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp=f"{GATEWAY}/32"
    )
    launched = ec2.run_instances(
        ImageId=image["ImageId"], InstanceType="stead.small", MinCount=1, MaxCount=1, KeyName="me"
    )["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[launched], WaiterConfig={"Delay": 1, "MaxAttempts": 300})
    [found] = ec2.describe_instances(InstanceIds=[launched])["Reservations"][0]["Instances"]
    guest = Guest(launched, found["PublicIpAddress"], key)
    guest.boot()
    return guest


_ASKS: Final = (
    "import json, urllib.request as u; "
    "print(json.dumps(json.load(u.urlopen('http://127.0.0.1:9090/api/v1/query?query=up'))['data']['result']))"
)


def watched(operator: Operator) -> dict[str, str]:
    """What Prometheus says of each page, by its machine, once all of them answer: `1`."""

    def ask() -> dict[str, str] | None:
        asked = operator.controller.machine.run("/usr/bin/python3", "-c", _ASKS)
        found = json.loads(asked.stdout) if asked.returncode == 0 else []
        seen = {each["metric"]["machine"]: each["value"][1] for each in found}
        return seen if set(seen.values()) == {"1"} and len(seen) == len(operator.members) else None

    return wait_for(ask, "Prometheus reads the pages of all machines", 60)


def lock_out(operator: Operator, server: Server) -> None:
    """Let an operator forget their own address in a machine's firewall: Ansible fails, and the way back opens by itself."""
    before = server.machine.must("nft", "list", "table", "inet", "stead_machine")
    rules = json.dumps({"machine_ssh_from": [_NOBODY], "machine_firewall_seconds": 20})
    operator.play("site.yml", "--tags=firewall", f"--limit={server.name}", f"--extra-vars={rules}", fails=True)
    said = (operator.rack.folder / "said").read_text(encoding="utf-8")
    assert "Log in anew" in said, said[-3000:]
    assert "Note that they have proven themselves" not in said, said[-3000:]
    wait_for(lambda: operator.rack.enters(server), f"{server.name} takes SSH again", 60, poll=0.5)
    assert server.machine.must("nft", "list", "table", "inet", "stead_machine") == before
    assert _NOBODY.partition("/")[0] not in server.machine.must("cat", "/etc/stead/firewall.nft")


def in_postgresql(operator: Operator) -> None:
    """The controller's state is on the database's machine, and in no file."""
    asks = "runuser -u postgres -- psql -p 5433 -d stead -Atc 'SELECT state FROM hosts ORDER BY hostname'"
    said = operator.rack.servers[-1].machine.must("sh", "-c", asks)
    assert said.split() == ["up"] * (len(operator.members) - 1), said
    assert operator.controller.machine.run("ls", "/var/lib/stead/controller/stead.sqlite").returncode != 0


def rotated(operator: Operator, trusted: int, *arguments: str) -> None:
    """Take a part of the way to another authority; all hosts have followed, and clients get that many."""
    operator.play("rotate.yml", *arguments)
    shown = json.loads(operator.controller.machine.must("stead", "certificate", "list", "--output", "json"))
    assert (len(shown["trusted"]), shown["waiting"]) == (trusted, []), shown
    ca = (operator.playbooks / "ca.pem").read_text(encoding="ascii")
    assert ca.count("BEGIN CERTIFICATE") == trusted
    assert operator.account().client("ec2").describe_instances()["Reservations"]


_PLACES: Final = (
    "/etc/stead /etc/sysctl.d/60-stead.conf /opt/stead /usr/local/bin/stead /var/lib/stead /run/stead "
    "/etc/systemd/system/*stead* /etc/systemd/system/*.wants/*stead* /etc/systemd/system/victoria-metrics.service /etc/prometheus/stead.rules.yml"
)


def left_on(server: Server) -> list[str]:
    """Files, links, tables, namespaces and processes that are still on a machine after an uninstall."""
    look = server.machine.run
    found = look("sh", "-c", f"ls -d {_PLACES} 2>/dev/null; ls /run/netns 2>/dev/null").stdout.split()
    found += [
        line for line in look("ip", "-brief", "link").stdout.splitlines() if not line.startswith(("lo ", "eth0@"))
    ]
    found += look("nft", "list", "tables").stdout.splitlines()
    found += [line for line in look("pg_lsclusters", "--no-header").stdout.splitlines() if " stead " in line]
    running = look("ps", "ax", "-o", "args=").stdout.splitlines()
    return found + [line for line in running if re.search("stead|qemu-system|dnsmasq|victoria|weed|prometheus", line)]


def tell(folder: Path, machines: int, what: Literal["all", "short"]) -> None:
    """Tell the whole story, and print how long each part took."""
    made = make_release(folder)
    has_database = bool(PROGRAMS)
    with rack(folder, machines + has_database) as found:
        operator = Operator(found, made, mitogen=what == "short", has_database=has_database)
        last = operator.members[-1]
        _step("bare machines become a cloud", lambda: operator.play("site.yml"))
        guest = _step("a guest is launched, and answers", lambda: launch(operator))
        boot = guest.boot()
        if operator.monitors:
            _step("Prometheus watches all of them", lambda: watched(operator))
        changed = _step("a second run changes nothing", lambda: operator.play("site.yml"))
        assert set(changed.values()) == {0}, changed
        _step("nor does one that only looks", lambda: operator.play("site.yml", "--check", "--diff"))
        _step("who locks themselves out is let in again", lambda: lock_out(operator, last))
        if has_database:
            _step("the state is in PostgreSQL", lambda: in_postgresql(operator))
        _step("new keys, both authorities trusted", lambda: rotated(operator, 2))
        _step("the new authority alone", lambda: rotated(operator, 1, "--extra-vars=clients=ready"))
        assert guest.boot() == boot, "the guest noticed the new authority"
        _step("a backup is made", lambda: operator.play("backup.yml"))
        later = another_release(made)
        _step("upgrade, host by host", lambda: operator.play("upgrade.yml", release=later))
        assert guest.boot() == boot, "the guest noticed the upgrade"
        _step("the backup is brought back", lambda: operator.play("restore.yml", release=later))
        assert guest.boot() == boot, "the guest noticed the restore"
        _step("a host is removed", lambda: operator.play("remove-host.yml", f"--extra-vars=host={last.name}"))
        assert last.name not in operator.hosts()
        assert left_on(last) == []
        _step("and made again", lambda: operator.play("site.yml", release=later))
        assert operator.hosts()[last.name]["state"] == "up"
        _step("all is removed", lambda: operator.play("uninstall.yml", "--extra-vars=sure=yes"))
        left = {server.name: left_on(server) for server in found.servers}
        made_for_it = ["/var/lib/stead"]  # by who boots machines; hosts and controllers take it away
        assert left == {server.name: [] if server in operator.members else made_for_it for server in found.servers}


def _step[Done](what: str, work: Callable[[], Done]) -> Done:
    began, before = time.monotonic(), os.times()
    done = work()
    now = os.times()
    used = now.children_user + now.children_system - before.children_user - before.children_system
    print(f"{time.monotonic() - began:6.0f} s, {used:5.0f} s of a processor here  {what}", flush=True)
    return done


def main() -> None:
    """Fetch what is needed, enter a box, and tell it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=3)
    parser.add_argument("--mitogen", action="store_true", help="in a third of the time, not as operators do it")
    options = parser.parse_args()
    micro.build()
    outside_clients.fetch(CLIENTS)
    for name in CLIENTS:
        if why := outside_clients.why_missing(name):
            raise SystemExit(why)
    box.enter()
    with tempfile.TemporaryDirectory(prefix="stead-rack-") as folder:
        tell(Path(folder), options.machines, "short" if options.mitogen else "all")


if __name__ == "__main__":
    main()
