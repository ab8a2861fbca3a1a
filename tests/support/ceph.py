"""A real but small Ceph cluster: one monitor, one manager and one OSD below its own folder.

It listens on loopback, or at an address of another network namespace.

Its pools store one copy. Programs are Debian's: `PACKAGES`.
"""

import base64
import json
import os
import secrets
import shutil
import struct
import subprocess
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stead_agent.disks.volumes.ceph_keyring import key_of
from tests.support.processes import free_ports
from tests.support.waiting import wait_for

PACKAGES: Final = ("ceph-mon", "ceph-mgr", "ceph-osd", "ceph-common", "librbd1", "qemu-block-extra")
"""What `apt-get install --no-install-recommends` must bring; all are in Debian 13."""

POOL: Final = "stead"
USER: Final = "client.stead"
_PROGRAMS: Final = ("ceph-mon", "ceph-mgr", "ceph-osd", "ceph", "rbd")
_START_SECONDS: Final = 60.0
_CAPS: Final = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "mgr": "allow *", "osd": "allow *"},
    "mgr.x": {"mon": "allow profile mgr", "osd": "allow *"},
    "osd.0": {"mon": "allow profile osd", "mgr": "allow profile osd", "osd": "allow *"},
    USER: {"mon": "profile rbd", "osd": f"profile rbd pool={POOL}"},
}


def missing_programs() -> list[str]:
    """List the programs that a cluster needs and that are not installed."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin"
    return [program for program in _PROGRAMS if shutil.which(program, path=path) is None]


@dataclass
class Ceph:
    """The cluster; it runs between `start` and `stop`, which removes all of it."""

    folder: Path = field(default_factory=lambda: Path(f"/var/tmp/stead-ceph-{os.getpid()}-{secrets.token_hex(3)}"))
    size: int = 2 << 30  # bytes of its disk, a sparse file
    address: str = "127.0.0.1"
    inside: int = 0  # a process whose network namespace the daemons use; 0: ours
    _running: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)

    @property
    def conf(self) -> Path:
        """The configuration file for clients; anyone may read it."""
        return self.folder / "ceph.conf"

    def prepare(self) -> None:
        """Write the configuration of the cluster before it is started; clients may be configured with it."""
        self.folder.mkdir(mode=0o711)
        self._write_conf()

    def start(self) -> None:
        """Create the cluster with the pool and its user, and return when the pool is writable."""
        if not self.folder.exists():
            self.prepare()
        fsid = self._option("fsid")
        monmap = self.folder / "monmap"
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", self._option("mon_host"), str(monmap))
        keyring = str(self.folder / "first.keyring")
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(monmap), "--keyring", keyring)
        self.start_daemon("mon", "a")
        osd = str(uuid.uuid4())
        assert self.ceph("osd", "new", osd)["osdid"] == 0
        self._run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", osd)
        self.start_daemon("mgr", "x")
        self.start_daemon("osd", "0")
        self.ceph("osd", "pool", "create", POOL, "8")
        self.ceph("osd", "pool", "application", "enable", POOL, "rbd")
        wait_for(self._is_clean, f"the pool can be written\n{self.log_ends()}", _START_SECONDS, poll=0.2)

    def start_daemon(self, kind: str, name: str) -> None:
        """Start one of the cluster's daemons, as a child process."""
        enter = ["nsenter", f"--net=/proc/{self.inside}/ns/net"] if self.inside else []
        command = [*enter, f"ceph-{kind}", "-c", str(self.conf), "-i", name, "-f"]
        with (self.folder / f"{kind}.out").open("ab") as log:
            self._running[kind] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(), cwd="/"
            )

    def end_daemon(self, kind: str) -> None:
        """Kill one of the daemons, as in a crash."""
        process = self._running.pop(kind)
        process.kill()
        process.wait(60)

    def stop(self) -> None:
        """End the daemons and remove their data."""
        for kind in reversed(list(self._running)):
            self.end_daemon(kind)
        shutil.rmtree(self.folder)

    def ceph(self, *words: str) -> Any:
        """Run a `ceph` command as the administrator; return the answer's JSON, or None when there is none."""
        said = self._run("ceph", "--connect-timeout", "30", "--format", "json", *words)
        return json.loads(said) if said.strip() else None

    def full_pools(self) -> list[str]:
        """List the full pools, whose writes block."""
        pools = self.ceph("osd", "pool", "ls", "detail")
        return [pool["pool_name"] for pool in pools if "full" in pool["flags_names"]]

    def rbd(self, *words: str) -> str:
        """Run Ceph's own command for images, as the administrator."""
        return self._run("rbd", *words)

    @property
    def key_of_stead(self) -> str:
        """The key of Stead's Ceph user."""
        return key_of(str(self.folder / "stead.keyring"), USER)

    def log_ends(self) -> str:
        """The last lines of the daemons' logs."""
        logs = sorted(self.folder.glob("*.out"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in logs)

    def _is_clean(self) -> bool:
        for kind, process in self._running.items():
            assert process.poll() is None, f"ceph-{kind} ended:\n{self.log_ends()}"
        status = self.ceph("status")
        states = {each["state_name"] for each in status["pgmap"].get("pgs_by_state", [])}
        usage = self.ceph("df")["pools"]
        sized = {each["name"] for each in usage if each["stats"]["max_avail"] > 0}
        return states == {"active+clean"} and POOL in sized

    def _run(self, program: str, *words: str) -> str:
        done = subprocess.run(
            [program, "-c", str(self.conf), *words] if program != "monmaptool" else [program, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=_environment(),
            cwd="/",
        )
        assert done.returncode == 0, f"{program} {' '.join(words)}:\n{done.stdout}\n{done.stderr}\n{self.log_ends()}"
        return done.stdout

    def _option(self, name: str) -> str:
        lines = self.conf.read_text(encoding="ascii").splitlines()
        return next(line.partition("=")[2].strip() for line in lines if line.partition("=")[0].strip() == name)

    def _write_conf(self) -> None:
        """Write the configuration, and the keys of all daemons and users."""
        second, first = free_ports(2)
        keys = {name: _new_key() for name in _CAPS}
        folders = {"mon": "mon", "mgr.x": "mgr", "osd.0": "osd"}
        for folder in folders.values():
            (self.folder / folder).mkdir(mode=0o700)
        self._write_keyring("first.keyring", keys, list(_CAPS))
        self._write_keyring("admin.keyring", keys, ["client.admin"])
        self._write_keyring("stead.keyring", keys, [USER])
        self._write_keyring("mgr/keyring", keys, ["mgr.x"])
        self._write_keyring("osd/keyring", keys, ["osd.0"])
        text = _CONF.format(
            folder=self.folder,
            fsid=uuid.uuid4(),
            size=self.size,
            mon_host=f"[v2:{self.address}:{second},v1:{self.address}:{first}]",
            address=self.address,
        )
        self.conf.write_text(text, encoding="ascii")
        self.conf.chmod(0o644)

    def _write_keyring(self, name: str, keys: dict[str, str], users: list[str]) -> None:
        lines = []
        for user in users:
            lines += [f"[{user}]", f"key = {keys[user]}"]
            lines += [f'caps {kind} = "{caps}"' for kind, caps in _CAPS[user].items()]
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _new_key() -> str:
    """Make a cephx key: its type (AES), creation time, length, and the key."""
    return base64.b64encode(struct.pack("<HIIH", 1, int(time.time()), 0, 16) + secrets.token_bytes(16)).decode("ascii")


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


_CONF: Final = """\
[global]
fsid = {fsid}
mon_host = {mon_host}
mon_initial_members = a
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
public_addr = {address}
cluster_addr = {address}
ms_bind_ipv6 = false
run_dir = {folder}
admin_socket =
log_file =
log_to_stderr = true
err_to_stderr = true
mon_cluster_log_file =
crash_dir = {folder}
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0

[mon]
mon_data = {folder}/mon
mon_allow_pool_size_one = true
mon_allow_pool_delete = true
mon_data_avail_crit = 1
mon_data_avail_warn = 1
mon_memory_target = 268435456
mon_memory_autotune = false
auth_allow_insecure_global_id_reclaim = false
paxos_propose_interval = 0.1
mon_tick_interval = 1

[mgr]
mgr_data = {folder}/mgr
mgr_tick_period = 1
mgr_stats_period = 1
mgr_initial_modules =
mgr_module_path = {folder}/mgr

[osd]
osd_data = {folder}/osd
osd_objectstore = bluestore
bluestore_block_create = true
bluestore_block_size = {size}
bluestore_cache_autotune = false
bluestore_cache_size = 67108864
osd_memory_target = 939524096
osd_op_queue = wpq
osd_mclock_skip_benchmark = true
osd_op_num_shards = 1
osd_op_num_threads_per_shard = 2
osd_heartbeat_interval = 2
osd_client_watch_timeout = 12

[client.admin]
keyring = {folder}/admin.keyring

[client.stead]
keyring = {folder}/stead.keyring
"""
