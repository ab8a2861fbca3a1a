"""What a guest that broke out of QEMU could do on the host: a process of its user in its mount namespace tries (FAULTS 37)."""

import json
import os
import subprocess
import sys

import pytest

DENIED = {"EACCES", "EPERM"}
TRIES = r"""
import errno, json, os, socket, sys
def outcome(try_):
    try:
        try_()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
def connect(path):
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(path)
plan = json.load(sys.stdin)
verbs = {
    "read": lambda path: os.close(os.open(path, os.O_RDONLY)),
    "write": lambda path: os.close(os.open(path, os.O_WRONLY)),
    "list": os.listdir,
    "remove": os.unlink,
    "chmod": lambda path: os.chmod(path, 0o777),
    "connect": connect,
    "kill": lambda pid: os.kill(int(pid), 9),
    "become": lambda uid: os.setuid(int(uid)),
    "find": os.stat,
}
print(json.dumps([outcome(lambda: verbs[verb](what)) for verb, what in plan]))
"""


def tries_of(world, machine_id, plan, *, as_root=False):
    """What became of each try, made as the guest's user, in its mount namespace and without rights; or there as root."""
    process = world.process_of(machine_id)
    facts = dict(line.split(":\t", 1) for line in open(f"/proc/{process}/status").read().splitlines() if ":\t" in line)  # noqa: PTH123, SIM115 - one short line
    uid, gid = facts["Uid"].split()[0], facts["Gid"].split()[0]
    rights = [] if as_root else ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
    done = subprocess.run(
        ["nsenter", f"--mount=/proc/{process}/ns/mnt", *rights, sys.executable, "-I", "-S", "-c", TRIES],
        input=json.dumps(plan).encode(),
        capture_output=True,
        check=True,
    )
    return dict(zip(map(tuple, plan), json.loads(done.stdout), strict=True))


def test_a_guest_that_broke_out_reaches_nothing_of_others(world):
    victim, guest = world.spec(base=True), world.spec(base=True)
    world.machines.start(victim, 1)
    world.machines.start(guest, 1)
    own, other = guest.disks[0], victim.disks[0]
    base = str(other.base.source.path)
    state = world.daemon.root
    (victim_dir,) = (state / "lib" / "qemu").glob(f"domain-*-{victim.id}")
    (channel,) = (state / "run" / "qemu" / "channel").glob(f"*-{victim.id}")
    assert (world.root / "screens" / victim.id / "vnc").is_socket()
    assert (channel / "org.qemu.guest_agent.0").is_socket()
    may = [["read", str(own.source.path)], ["write", str(own.source.path)], ["read", base]]
    may_not = [
        ["read", str(other.source.path)],
        ["write", str(other.source.path)],
        ["chmod", str(other.source.path)],
        ["remove", str(other.source.path)],
        ["remove", str(own.source.path)],  # or a symbolic link could take its place
        ["write", base],
        ["chmod", base],
        ["list", str(own.source.path.parent)],
        ["list", str(world.root / "consoles")],
        ["read", str(world.root / "consoles" / victim.id / "1.log")],
        ["read", str(victim_dir / "master-key.aes")],
        ["connect", str(victim_dir / "monitor.sock")],
        ["connect", str(world.root / "screens" / victim.id / "vnc")],
        ["list", str(world.root / "screens" / victim.id)],
        ["connect", str(channel / "org.qemu.guest_agent.0")],
        ["read", f"/proc/{world.process_of(victim.id)}/mem"],
        ["kill", str(world.process_of(victim.id))],
        ["kill", str(world.daemon.pid)],
        ["connect", str(state / "run" / "virtlogd-sock")],
        ["become", "0"],
    ]
    found = tries_of(world, guest.id, may + may_not)
    assert {tuple(each): found[tuple(each)] for each in may} == {tuple(each): "done" for each in may}
    assert {each: outcome for each in map(tuple, may_not) if (outcome := found[each]) not in DENIED} == {}
    # All of it is there to be had, so it is the right that is missing.
    paths = [["find", what] for verb, what in may_not if verb not in {"kill", "become"}]
    seen = tries_of(world, guest.id, paths, as_root=True)
    assert {path: outcome for path, outcome in seen.items() if outcome != "done"} == {}


def test_a_guest_that_broke_out_sees_no_device_of_the_host(world):
    """What it may open is a short list; others, of which these are in every host, have no names in its /dev."""
    spec = world.spec()
    world.machines.start(spec, 1)
    hidden = ["/dev/net/tun", "/dev/loop-control", "/dev/fuse"]
    here = [path for path in hidden if os.path.exists(path)]  # noqa: PTH110 - as the tries do
    assert "/dev/net/tun" in here
    found = tries_of(world, spec.id, [["read", path] for path in here])
    assert set(found.values()) == {"ENOENT"}, found


@pytest.mark.parametrize("name", ["libvirt-sock", "libvirt-sock-ro"])
def test_libvirt_does_not_listen_to_a_guest_that_broke_out(world, tmp_path, name):
    """Nobody gets to its socket; of a system's own, to which anybody may connect, libvirtd serves no user that is unknown.

    Even if the client has a name for it.
    """
    spec = world.spec()
    world.machines.start(spec, 1)
    process = world.process_of(spec.id)
    uid = os.stat(f"/proc/{process}").st_uid  # noqa: PTH116 - a path of /proc
    users = tmp_path / "passwd"
    users.write_text(f"guest:x:{uid}:64055::/nowhere:/bin/false\n")
    users.chmod(0o644)
    become = f"mount --bind {users} /etc/passwd && exec setpriv --reuid={uid} --regid=64055 --clear-groups"
    asks = ["virsh", "-c", f"qemu+unix:///system?socket={world.daemon.root / 'run' / name}", "list"]
    command = ["unshare", "--mount", "sh", "-c", f'{become} "$@"', "sh", *asks]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Permission denied" in done.stderr) == (1, True), done.stderr
    path = world.daemon.root / "run" / name
    path.chmod(0o777)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    finally:
        path.chmod(0o700)
    assert done.returncode != 0
    assert f"Failed to find user record for uid '{uid}'" in done.stderr
    assert spec.id not in done.stdout
    done = subprocess.run(asks, capture_output=True, text=True, timeout=60, check=True)  # as root, who may
    assert spec.id in done.stdout
