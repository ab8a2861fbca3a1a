"""A cloud in a box for API tests: a real controller on free ports, simulated hosts, any number of accounts."""

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stead_cli import processes
from stead_cli.cloud import started_by_controller
from stead_cli.operator import Operator
from stead_cli.settings import Settings
from stead_proto import alone
from stead_proto.certificates import Authority
from stead_proto.v1 import operator_pb2 as pb
from tests.support import empty_database
from tests.support.clients import Account
from tests.support.processes import BIN, Child, clean_environment, free_ports
from tests.support.waiting import wait_for

GIB = 1 << 30


DEVICE: Final = "1234:0001"  # the model of PCI device that each host of the shared cloud has


@dataclass(frozen=True)
class HostSize:
    """The capacity of a simulated host."""

    cpus: int = 32
    memory: int = 128 * GIB
    devices: Sequence[str] = ()  # models of PCI devices that guests may have, one device each
    whole_cores: int = 0  # cores of two threads that guests may have alone


@dataclass
class ControllerChild(Child):
    """A controller as a child process: what is started is the parent of a stand-by and of the process that serves.

    All are of one group. When the parent is killed its stand-by takes its place, and is then what runs here.
    """

    serving_file: Path = Path()  # locked by the process that serves

    @property
    def serving(self) -> int:
        """The id of the process that serves."""
        return self._holder_of(self.serving_file)

    @property
    def parent(self) -> int:
        """The id of the parent of the process that serves."""
        return self._holder_of(self.lock_file)

    @property
    def stand_by(self) -> int:
        """The id of the process that takes the parent's place; it is forked before the one that serves."""
        return self.children[0]

    @property
    def children(self) -> list[int]:
        """The ids of its stand-by and of the process that serves, as they were forked."""
        words = Path(f"/proc/{self.parent}/task/{self.parent}/children").read_text(encoding="ascii").split()
        return [int(word) for word in words]

    @property
    def lock_file(self) -> Path:
        """What the parent and its stand-by hold."""
        return self.serving_file.with_name(alone.FILE_NAME)

    def _holder_of(self, file: Path) -> int:
        found = alone.holder(file)
        assert found is not None, f"no process holds {file}:\n{self.tail()}"
        return found

    def runs(self) -> bool:
        """Tell whether it runs, the one that was started or one that took its place."""
        return super().runs() or (self.process is not None and alone.holder(self.lock_file) is not None)

    def kill(self) -> None:
        """Kill all of its processes at once, and wait until nothing serves."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):  # all have ended
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(60)
        wait_for(
            lambda: {alone.holder(self.lock_file), alone.holder(self.serving_file)} == {None}, "nothing serves", 30
        )

    def kill_serving(self) -> int:
        """Kill the process that serves, which the parent replaces; return its id."""
        serving = self.serving
        os.kill(serving, signal.SIGKILL)
        return serving

    def kill_parent(self) -> int:
        """Kill the parent, whose place its stand-by takes, and with it the process that serves; return that one's id."""
        serving = self.serving
        os.kill(self.parent, signal.SIGKILL)
        return serving

    def another_serves(self, killed: int) -> bool:
        """Tell whether another process serves than the one that was killed."""
        return alone.holder(self.serving_file) not in {None, killed}

    def stop(self, seconds: float = 15.0) -> None:
        """Terminate it; it must exit in time."""
        if super().runs() or not self.runs():
            super().stop(seconds)
            return
        os.kill(self.parent, signal.SIGTERM)
        wait_for(lambda: not self.runs(), f"{self.name} has ended", seconds)


@dataclass
class Cloud:
    """A controller and its simulated hosts below one folder."""

    folder: Path
    options: tuple[str, ...] = ()
    agents_environment: Mapping[str, str] = field(default_factory=clean_environment)
    controller: ControllerChild = field(init=False)
    settings: Settings = field(init=False)
    simulators: list[Child] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Choose ports; start nothing."""
        http, https, hosts, enrolment, endpoints, consoles = free_ports(6)
        self.settings = Settings(
            self.folder,
            http_port=http,
            https_port=https,
            host_port=hosts,
            enrolment_port=enrolment,
            endpoint_port=endpoints,
            serial_console_port=consoles,
            uplink="none",
        )
        command: list[str | Path] = [
            BIN / "stead-controller",
            "run",
            f"--state-dir={self.settings.controller_dir}",
            f"--http-port={http}",
            f"--https-port={https}",
            f"--host-port={hosts}",
            f"--enrolment-port={enrolment}",
            f"--endpoint-port={endpoints}",
            f"--serial-console-port={consoles}",
            *self.options,
        ]
        self.controller = ControllerChild(
            "controller",
            command,
            self.folder / "controller.log",
            serving_file=self.settings.controller_dir / alone.SERVING_FILE_NAME,
        )

    @property
    def endpoint(self) -> str:
        """URL of the AWS APIs, over HTTP."""
        return f"http://127.0.0.1:{self.settings.http_port}"

    @property
    def operator(self) -> Operator:
        """A client of the operators' services."""
        return Operator(self.settings)

    @property
    def first_account(self) -> Account:
        """The account that was created with the cloud."""
        content = json.loads((self.settings.controller_dir / "credentials.json").read_text(encoding="utf-8"))
        return Account(
            content["account_id"], content["access_key_id"], content["secret_access_key"], endpoint=self.endpoint
        )

    def new_account(self, name: str = "") -> Account:
        """An isolated account with its own default VPC."""
        made = self.operator.create_account(name or f"test-{secrets.token_hex(6)}")
        return Account(made.account_id, made.access_key_id, made.secret_access_key, endpoint=self.endpoint)

    def start_controller(self) -> None:
        """Start the controller and wait until it answers; its database is migrated before, where there is none."""
        database = self.settings.controller_dir / "stead.sqlite"
        if not database.exists():
            self.settings.controller_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            empty_database.write(database, of_program=True)
        self.controller.start()
        wait_for(self.answers, "the controller answers", 30)

    def answers(self) -> bool:
        """Tell whether the controller answers; fail when it has exited."""
        self.controller.check()
        # urllib reads the machine's certificates for each opener, which takes longer than all else of an early try.
        connection = http.client.HTTPConnection(self.endpoint.removeprefix("http://"), timeout=10)
        try:
            connection.request("GET", "/_stead/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def add_hosts(self, count: int, size: HostSize | None = None, zone: str = "", *, keep: bool = False) -> None:
        """Enrol simulated hosts of a zone (default: the first), all in one process, and wait until they are up.

        With `keep` what they have is in files, and outlives the process.
        """
        known = {host.id for host in self.operator.list_hosts()}
        tokens = [self.operator.create_token(zone).token for _ in range(count)]
        simulator = self._simulate(count, tokens, size or HostSize(), keep=keep)

        def all_up() -> bool:
            simulator.check()
            now_up = {host.id for host in self.operator.list_hosts() if host.state == "up"} - known
            return len(now_up) >= count

        wait_for(all_up, f"{count} simulated hosts are up", 30)

    def bring_back_hosts(self, host_ids: Sequence[str], size: HostSize | None = None) -> None:
        """Run simulated hosts that the controller knows, without any resources, and wait until they are up."""
        authority = Authority.load_or_create(self.settings.controller_dir / "ca")
        for number, host_id in enumerate(host_ids, 1):
            authority.issue_host(host_id).save(self._next_folder / f"simulated-{number:04}")
        simulator = self._simulate(len(host_ids), (), size or HostSize())

        def all_up() -> bool:
            simulator.check()
            return set(host_ids) <= {host.id for host in self.operator.list_hosts() if host.state == "up"}

        wait_for(all_up, f"{', '.join(host_ids)} are up", 30)

    @property
    def _next_folder(self) -> Path:
        return self.folder / f"simulated-{len(self.simulators)}"

    def _simulate(self, count: int, tokens: Sequence[str], size: HostSize, *, keep: bool = False) -> Child:
        """Start a process of simulated hosts."""
        folder = self._next_folder
        folder.mkdir(exist_ok=True)
        (folder / "tokens").write_text("".join(f"{token}\n" for token in tokens), encoding="ascii")
        command: list[str | Path] = [
            BIN / "stead-agent",
            "simulate",
            f"--state-dir={folder}",
            f"--controller=127.0.0.1:{self.settings.host_port}",
            f"--enrolment=127.0.0.1:{self.settings.enrolment_port}",
            f"--ca={self.settings.controller_dir / 'ca.pem'}",
            f"--token-file={folder / 'tokens'}",
            f"--hosts={count}",
            f"--cpus={size.cpus}",
            f"--memory={size.memory}",
            *(f"--device={model}" for model in size.devices),
            f"--whole-cores={size.whole_cores}",
            f"--control={folder / 'control'}",
            *(("--keep",) if keep else ()),
        ]
        name = f"simulated hosts {len(self.simulators)}"
        simulator = Child(name, command, folder / "agent.log", self.agents_environment)
        simulator.start()
        self.simulators.append(simulator)
        return simulator

    def let_happen(self, **params: Any) -> dict[str, Any]:
        """Cause an event on a simulated host or guest (see `stead_agent.fleet_control`), and return the answer."""
        refusals = []
        for number in range(len(self.simulators)):
            folder = os.open(self.folder / f"simulated-{number}", os.O_PATH)
            with socket.socket(socket.AF_UNIX) as control, control.makefile("rw", encoding="utf-8") as lines:
                try:
                    control.connect(f"/proc/self/fd/{folder}/control")  # the path itself may be too long: unix(7)
                finally:
                    os.close(folder)
                lines.write(json.dumps(params) + "\n")
                lines.flush()
                answer: dict[str, Any] = json.loads(lines.readline())
            if answer["well"]:
                return answer
            refusals.append(answer["error"])
        raise AssertionError(f"{params}: {refusals}")

    def add_image(self, name: str = "blank", size: str = "64M") -> str:
        """Import a blank public image, which is all that simulated hosts need; return its id."""
        path = self.folder / f"{name}.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, size], check=True, timeout=60)
        header = pb.ImportImageHeader(
            name=name, format="qcow2", file_size=path.stat().st_size, architecture="x86_64", public=True
        )
        return self.operator.import_image(header, path, lambda _count: None).image_id

    def stop(self) -> None:
        """Stop all programs: hosts first, and last what outlives its controller."""
        for simulator in self.simulators:
            simulator.stop()
        self.controller.stop()
        for program in started_by_controller(self.settings):
            processes.stop(program)
