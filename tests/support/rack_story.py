"""What an operator does with `ansible/` and machines of a rack, from bare ones to bare ones again.

The suite tells a short version (`e2e/test_rack.py`). By hand: `python -m tests.support.rack_story` tells all of it, on three machines.
"""

import argparse
import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from tests.support import box, micro, outside_clients, rack_alerts
from tests.support.clients import Account
from tests.support.postgresql import PROGRAMS
from tests.support.processes import clean_environment
from tests.support.rack import GATEWAY, POOL, VIRTUAL, Rack, Server, link, rack
from tests.support.releases import another_release, make_release
from tests.support.second_controller import client_of
from tests.support.shared_metrics import shows_at_another
from tests.support.waiting import wait_for

CLIENTS: Final = ("ansible", "release", "ssh-server")
_RECAP: Final = re.compile(r"^(\S+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)
_SECONDS: Final = 900.0
_RISES: Final = 4.0  # roles/virtual_address/templates/keepalived.conf.j2: two checks, one a second
_NOBODY: Final = "192.0.2.1/32"  # RFC 5737


@dataclass
class Operator:
    """Who has an inventory of a rack's machines, and Ansible; the first machines are the controllers'."""

    rack: Rack
    release: Path
    mitogen: bool = True  # a third of the time; else as operators do it
    monitors: bool = field(default_factory=lambda: shutil.which("prometheus") is not None)
    controllers: int = 1
    has_database: bool = False  # on the last machine, which is no host then
    has_blocks: bool = False  # as well
    virtual_address: str = ""  # which one of the controllers has at a time

    @property
    def controller(self) -> Server:
        """The first controller's machine."""
        return self.rack.servers[0]

    @property
    def members(self) -> list[Server]:
        """The machines of controllers and of hosts."""
        return self.rack.servers[:-1] if self.has_database or self.has_blocks else self.rack.servers

    @property
    def playbooks(self) -> Path:
        """The folder of the release's playbooks."""
        return self.rack.folder / self.release.stem / "ansible"

    def inventory(self) -> Path:
        """Write the inventory, in JSON, which is YAML, too."""
        hosts = {server.name: {"ansible_host": server.address} for server in self.rack.servers}
        names, last = [server.name for server in self.members], self.rack.servers[-1].name
        served = {"postgresql": self.has_database, "block_store": self.has_blocks}
        content = {
            "stead": {
                "vars": {
                    "ansible_user": "root",
                    "ansible_python_interpreter": "/usr/bin/python3",
                    "ansible_ssh_common_args": " ".join(self.rack.ssh_options),
                    "stead_public_pool": POOL,
                    "stead_backup_passphrase": "correct horse battery",
                    "controller_virtual_address": self.virtual_address,
                    # One of the machine's own: others would be set for this whole machine.
                    "machine_sysctls": {"net.ipv4.conf.all.log_martians": 1},
                },
                "children": {
                    "controller": {"hosts": {name: hosts[name] for name in names[: self.controllers]}},
                    "agents": {"hosts": {name: hosts[name] for name in names[self.controllers :]}},
                    **{group: {"hosts": {last: hosts[last]}} for group, is_there in served.items() if is_there},
                    # As all packages, it must be on the machine whose files they see.
                    **({"monitoring": {"hosts": {names[0]: {}}}} if self.monitors else {}),
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


def terminate(operator: Operator, guest: Guest) -> None:
    """Terminate it, and wait until it is."""
    ec2 = operator.account().client("ec2")
    ec2.terminate_instances(InstanceIds=[guest.id])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[guest.id], WaiterConfig={"Delay": 1, "MaxAttempts": 120})


def alarms(operator: Operator) -> dict[str, float]:
    """After how many seconds somebody is woken for a host and a controller, and for the database; and all is quiet again."""
    prometheus, host = operator.controller.machine, operator.members[-1]
    taken = {"stead-agent": host.machine}
    expected = {("SteadDown", f"{host.address}:9465"), ("SteadHostDown", "")}
    servers = operator.rack.servers[: operator.controllers]
    if len(servers) > 1:
        taken["stead-controller"] = servers[-1].machine
        expected.add(("SteadDown", f"{servers[-1].address}:9464"))
    took = {"host and controller": rack_alerts.rings(prometheus, taken, expected)}
    if operator.has_database:
        last = operator.rack.servers[-1].machine
        [version] = re.findall(r"^(\d+) +stead ", last.must("pg_lsclusters", "--no-header"), re.MULTILINE)
        expected = {("SteadDatabaseAway", f"{server.address}:9464") for server in servers}
        hosts = operator.members[operator.controllers :]
        expected |= {("SteadNoController", f"{server.address}:9465") for server in hosts}
        took["database"] = rack_alerts.rings(prometheus, {f"postgresql@{version}-stead": last}, expected)
    return took


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
    hosts = len(operator.members) - operator.controllers
    asks = "runuser -u postgres -- psql -p 5433 -d stead -Atc 'SELECT state FROM hosts ORDER BY hostname'"
    said = operator.rack.servers[-1].machine.must("sh", "-c", asks)
    assert said.split() == ["up"] * hosts, said
    assert operator.controller.machine.run("ls", "/var/lib/stead/controller/stead.sqlite").returncode != 0


def in_block_store(operator: Operator) -> None:
    """The blocks of images are on their machine, of which the outside reaches one port, by TLS alone."""
    last = operator.rack.servers[-1]
    kept = last.machine.must("find", "/var/lib/stead-block-store", "-name", "stead-blocks_*.dat")
    assert kept, "nothing is stored there"
    assert operator.controller.machine.run("ls", "/var/lib/stead/controller/blocks").stdout == ""
    listens = last.machine.must("ss", "--no-header", "--listening", "--tcp", "--numeric").split()
    ports = {each.rpartition(":")[2] for each in listens if each.startswith((f"{last.address}:", "0.0.0.0:", "*:"))}
    assert ports - {"22", "*"} == {"8333", "5433", "8428"}, ports
    blocks = {f"/etc/stead/block-store/{file}" for file in ("key", "object-key", "identities.json")}
    places = {"block-key": blocks, "object-key": blocks, "metrics-token": {"/etc/stead/metrics/password"}}
    for name, known in places.items():
        secret = re.split(r"[\s:]", operator.controller.machine.must("cat", f"/etc/stead/{name}"))[1]
        are_known = known | {f"/etc/stead/{name}"}
        for server in operator.rack.servers:
            assert written_with(server, secret) <= are_known


def metrics_are_shared(operator: Operator) -> None:
    """What was put at one controller is read at the other; who has no password reads nothing."""
    ends = [f"https://{server.address}:8774" for server in operator.rack.servers[:2]]
    shows_at_another(*(replace(operator.account(), endpoint=end).client("cloudwatch") for end in ends))
    engine = f"https://{operator.rack.servers[-1].address}:8428/api/v1/labels"
    asks = "curl --silent --cacert /etc/stead/metrics-ca.pem --write-out %{http_code} --output /dev/null"
    assert operator.controller.machine.must(*asks.split(), engine) == "401"


def written_with(server: Server, secret: str) -> set[str]:
    """The files of configuration, of logs and of users on a machine that have a secret, of those that it wrote."""
    upper = server.machine.folder / "upper"
    places = [path for each in ("etc", "root", "home", "tmp", "var/log", "var/tmp") if (path := upper / each).exists()]
    found = subprocess.run(["grep", "-rlF", secret, *places], capture_output=True, text=True, timeout=60, check=False)
    return {f"/{Path(line).relative_to(upper)}" for line in found.stdout.splitlines()}


def refused(operator: Operator) -> None:
    """Several controllers without a database or blocks that all of them have are refused before anything is changed."""
    without = replace(operator, has_database=False, has_blocks=False), "share a database of PostgreSQL"
    with_a_database = [(replace(operator, has_blocks=False), "share the blocks")] if operator.has_database else []
    for lacking, says in (without, *with_a_database):
        lacking.play("site.yml", fails=True)
        said = (operator.rack.folder / "said").read_text(encoding="utf-8")
        assert says in said, said[-3000:]


def one_dies(operator: Operator) -> None:
    """The first controller stops: the second answers, at the address of all of them, too; a further run starts it again."""
    first, second = operator.rack.servers[:2]
    ca = operator.account().ca_file

    def answers(address: str) -> bool:
        ec2 = client_of(operator.account(), f"https://{address}:8774", verify=ca)
        return bool(ec2.describe_instances()["Reservations"])

    for address in filter(None, (first.address, second.address, operator.virtual_address)):
        assert answers(address)
    there = replace(operator.account(), endpoint=f"https://{second.address}:8774").client("s3")
    operator.account().client("s3").create_bucket(Bucket="of-both")
    there.put_object(Bucket="of-both", Key="a", Body=b"from the second")
    assert operator.account().client("s3").get_object(Bucket="of-both", Key="a")["Body"].read() == b"from the second"
    first.machine.must("systemctl", "stop", "stead-controller")
    assert there.get_object(Bucket="of-both", Key="a")["Body"].read() == b"from the second"
    for address in filter(None, (second.address, operator.virtual_address)):
        assert answers(address)
    states = {row["state"] for row in json.loads(second.machine.must("stead", "host", "list", "--output", "json"))}
    assert states == {"up"}
    changed = operator.play("site.yml", "--tags=run")
    assert changed == {name: int(name == first.name) for name in changed}, changed
    assert answers(first.address)


def holder(operator: Operator) -> Server:
    """The one controller's machine that has the address of all."""

    def look() -> list[Server]:
        shows = ("ip", "-brief", "-4", "address", "show", "to", operator.virtual_address)
        return [each for each in operator.rack.servers[: operator.controllers] if each.machine.must(*shows).strip()]

    [found] = wait_for(lambda: found if len(found := look()) == 1 else None, "one controller has the address", 30)
    return found


def answers_at(operator: Operator, address: str) -> bool:
    """Tell whether a controller that has its database answers there, by a new connection, within half a second."""
    trusts = ssl.create_default_context(cafile=operator.account().ca_file)
    asked = http.client.HTTPSConnection(address, 8774, timeout=0.5, context=trusts)
    try:
        asked.request("GET", "/_stead/health")
        return b'"ok"' in asked.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


def all_serve(operator: Operator) -> None:
    """Wait until all controllers have answered for so long that each may have the address, and one has it."""
    failed = time.monotonic()

    def look() -> bool:
        nonlocal failed
        if not all(answers_at(operator, each.address) for each in operator.rack.servers[: operator.controllers]):
            failed = time.monotonic()
        return time.monotonic() > failed + _RISES

    wait_for(look, "all controllers serve", 180, poll=0.2)
    holder(operator)


def away(operator: Operator, end: Callable[[], object]) -> float:
    """Seconds without an answer at the address of all when something ends, of somebody who asks all the time."""
    answered, over = [time.monotonic()], threading.Event()

    def ask() -> None:
        while not over.wait(0.02):
            if answers_at(operator, operator.virtual_address):
                answered.append(time.monotonic())

    all_serve(operator)
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        wait_for(lambda: len(answered) > 1, "the address answers", 10)
        before = len(answered) - 1
        end()
        ended = time.monotonic() + 0.5  # an answer that came before it may be noted after it
        wait_for(lambda: answered[-1] > ended, "the address answers again", 60)
    finally:
        over.set()
        thread.join()
    return max(later - earlier for earlier, later in itertools.pairwise(answered[before:]))


def address_moves(operator: Operator) -> dict[str, float]:
    """How long nobody answers at the address of all when its holder's controller, or its machine, is gone."""
    took: dict[str, float] = {}
    for what, ends in (("stopped", ["stop"]), ("killed", ["kill", "--signal=SIGKILL"])):
        had = holder(operator)
        took[f"controller {what}"] = away(operator, partial(had.machine.must, "systemctl", *ends, "stead-controller"))
        had.machine.must("systemctl", "start", "stead-controller")
    had = holder(operator)
    took["machine cut off"] = away(operator, partial(link, had, "down"))
    link(had, "up")
    all_serve(operator)
    assert holder(operator) != had, "it stays where it went: each move ends connections"
    return took


@dataclass
class Calls:
    """Calls of a client that knows all controllers: how many were answered, and what failed."""

    count: int = 0
    failed: list[str] = field(default_factory=list)


@contextlib.contextmanager
def calls(operator: Operator) -> Iterator[Calls]:
    """Call the APIs five times a second meanwhile, to write and to read what was written, at one controller and another.

    A client has the list of them in one order, another in the other, and a third has the address of all alone.
    """
    made, over = Calls(), threading.Event()
    account = operator.account()
    ends = [f"https://{server.address}:8774" for server in operator.rack.servers[: operator.controllers]]
    known = [ends, ends[::-1]] + ([[f"https://{operator.virtual_address}:8774"]] if operator.virtual_address else [])
    clients = [client_of(account, *turned, verify=account.ca_file) for turned in known]

    def work() -> None:
        for turn in itertools.count():
            if over.wait(0.2):
                return
            writer, reader = clients[turn % len(clients)], clients[(turn + 1) % len(clients)]
            try:
                group = writer.create_security_group(GroupName=f"calls-{turn}", Description="meanwhile")["GroupId"]
                reader.describe_security_groups(GroupIds=[group])
                reader.delete_security_group(GroupId=group)
                made.count += 3
            except Exception as error:  # each is a finding, whatever it is
                made.failed.append(repr(error))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield made
    finally:
        over.set()
        thread.join()


def rotated(operator: Operator, trusted: int, *arguments: str) -> None:
    """Take a part of the way to another authority; all hosts have followed, and clients get that many."""
    operator.play("rotate.yml", *arguments)
    shown = json.loads(operator.controller.machine.must("stead", "certificate", "list", "--output", "json"))
    assert (len(shown["trusted"]), shown["waiting"]) == (trusted, []), shown
    ca = (operator.playbooks / "ca.pem").read_text(encoding="ascii")
    assert ca.count("BEGIN CERTIFICATE") == trusted
    key = "/var/lib/stead/controller/master.key"
    [master] = {server.machine.must("cat", key) for server in operator.rack.servers[: operator.controllers]}
    assert not any(written_with(server, master.split()[-2]) for server in operator.rack.servers)
    assert operator.account().client("ec2").describe_instances()["Reservations"]


_PLACES: Final = (
    "/etc/stead /etc/sysctl.d/60-stead.conf /opt/stead /usr/local/bin/stead /var/lib/stead /run/stead "
    "/etc/systemd/system/*stead* /etc/systemd/system/*.wants/*stead* /etc/systemd/system/victoria-metrics.service /etc/prometheus/stead.rules.yml "
    "/var/lib/stead-block-store /var/lib/stead-metrics /etc/postgresql/*/stead /etc/keepalived/keepalived.conf "
    "/etc/keepalived/stead-controller-serves"
)


def left_on(server: Server) -> list[str]:
    """Files, links, tables, namespaces, users and processes that are still on a machine after an uninstall."""
    look = server.machine.run
    found = look("sh", "-c", f"ls -d {_PLACES} 2>/dev/null; ls /run/netns 2>/dev/null").stdout.split()
    found += [
        line for line in look("ip", "-brief", "link").stdout.splitlines() if not line.startswith(("lo ", "eth0@"))
    ]
    found += look("nft", "list", "tables").stdout.splitlines()
    found += [line for line in look("pg_lsclusters", "--no-header").stdout.splitlines() if " stead " in line]
    found += [line for line in look("getent", "passwd").stdout.splitlines() if line.startswith("stead")]
    running = look("ps", "ax", "-o", "args=").stdout.splitlines()
    return found + [
        line for line in running if re.search("stead|qemu-system|dnsmasq|victoria|weed|prometheus|keepalived", line)
    ]


def tell(
    folder: Path, machines: int, what: Literal["all", "short"], controllers: int = 1, *, is_brief: bool = False
) -> None:
    """Tell the whole story, or briefly that of its changes, and print how long each part took."""
    made = make_release(folder)
    has_database = bool(PROGRAMS)
    with rack(folder, machines + has_database) as found:
        address = VIRTUAL if controllers > 1 and shutil.which("keepalived") else ""
        operator = Operator(
            found,
            made,
            mitogen=what == "short",
            controllers=controllers,
            has_database=has_database,
            has_blocks=has_database,
            virtual_address=address,
        )
        for is_told, what_for in (
            (operator.monitors, "prometheus: alerts"),
            (controllers < 2 or address, "keepalived: the address of all"),
        ):
            if not is_told:
                _note(f"not told, as its package is not on this machine: {what_for}")
        if controllers > 1:
            _step("what several controllers lack is said", lambda: refused(operator))
        _step("bare machines become a cloud", lambda: operator.play("site.yml"))
        guest = _step("a guest is launched, and answers", lambda: launch(operator))
        boot = guest.boot()
        if controllers > 1:
            _step("metrics of one controller are those of all", lambda: metrics_are_shared(operator))
        if not is_brief:
            _tell_what_is_there(operator)
        if operator.virtual_address:
            took = _step("the address of all moves", lambda: address_moves(operator))
            _note(", ".join(f"{how}: {seconds:.2f} s without an answer" for how, seconds in took.items()))
        if not is_brief:
            _step("new keys, both authorities trusted", lambda: rotated(operator, 2))
            _step("the new authority alone", lambda: rotated(operator, 1, "--extra-vars=clients=ready"))
        assert guest.boot() == boot, "the guest noticed something"
        _tell_changes(operator, guest, boot)


def _tell_what_is_there(operator: Operator) -> None:
    if operator.monitors:
        prometheus = operator.controller.machine
        _step("Prometheus watches all of them", lambda: rack_alerts.watched(prometheus, len(operator.members)))
        took = _step("alerts wake somebody, and end", lambda: alarms(operator))
        _note(", ".join(f"{what} away: {seconds:.0f} s" for what, seconds in took.items()))
    changed = _step("a second run changes nothing", lambda: operator.play("site.yml"))
    assert set(changed.values()) == {0}, changed
    _step("nor does one that only looks", lambda: operator.play("site.yml", "--check", "--diff"))
    _step("who locks themselves out is let in again", lambda: lock_out(operator, operator.members[-1]))
    if operator.has_database:
        _step("the state is in PostgreSQL", lambda: in_postgresql(operator))
        _step("blocks are on their machine, at one port", lambda: in_block_store(operator))
    if operator.controllers > 1:
        _step("one controller dies, and another serves", lambda: one_dies(operator))


def _tell_changes(operator: Operator, guest: Guest, boot: str) -> None:
    last, found = operator.members[-1], operator.rack
    _step("a backup is made", lambda: operator.play("backup.yml"))
    later = another_release(operator.release)
    with calls(operator) as made_calls:
        _step("upgrade, machine by machine", lambda: operator.play("upgrade.yml", release=later))
    _note(f"{made_calls.count} calls meanwhile, failed: {made_calls.failed}")
    assert guest.boot() == boot, "the guest noticed the upgrade"
    _step("and back to the release before", lambda: operator.play("upgrade.yml"))
    assert guest.boot() == boot, "the guest noticed the way back"
    _step("the backup is brought back", lambda: operator.play("restore.yml", release=later))
    assert guest.boot() == boot, "the guest noticed the restore"
    if len(operator.hosts()) == 1:  # where would it go?
        _step("the guest is terminated", lambda: terminate(operator, guest))
    _step("a host is removed", lambda: operator.play("remove-host.yml", f"--extra-vars=host={last.name}"))
    assert last.name not in operator.hosts()
    assert left_on(last) == []
    _step("and made again", lambda: operator.play("site.yml", release=later))
    assert operator.hosts()[last.name]["state"] == "up"
    _step("all is removed", lambda: operator.play("uninstall.yml", "--extra-vars=sure=yes"))
    left = {server.name: found_there for server in found.servers if (found_there := left_on(server))}
    assert left == {}, left
    assert operator.controllers == 1 or made_calls.failed == []


def _note(what: str) -> None:
    print(f"{'':36}{what}", flush=True)


def _step[Done](what: str, work: Callable[[], Done]) -> Done:
    began, before = time.monotonic(), os.times()
    done = work()
    now = os.times()
    used = now.children_user + now.children_system - before.children_user - before.children_system
    print(f"{time.monotonic() - began:6.0f} s, {used:5.0f} s of a processor here  {what}", flush=True)
    return done


def enter_box(clients: tuple[str, ...]) -> None:
    """Fetch what these clients need, and enter a box; ends this program where something is missing."""
    micro.build()
    outside_clients.fetch(clients)
    for name in clients:
        if why := outside_clients.why_missing(name):
            raise SystemExit(why)
    box.enter()


def main() -> None:
    """Fetch what is needed, enter a box, and tell it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=3)
    parser.add_argument("--controllers", type=int, default=1, help="of these machines")
    parser.add_argument("--mitogen", action="store_true", help="in a third of the time, not as operators do it")
    parser.add_argument("--brief", action="store_true", help="a cloud, and then what changes it, from a backup on")
    options = parser.parse_args()
    enter_box(CLIENTS)
    with tempfile.TemporaryDirectory(prefix="stead-rack-") as folder:
        what: Literal["all", "short"] = "short" if options.mitogen else "all"
        tell(Path(folder), options.machines, what, options.controllers, is_brief=options.brief)


if __name__ == "__main__":
    main()
