"""Console logs, processes watched, and who may open what."""

import os
import signal
import struct
import subprocess
import sys
import threading
import time

import pytest

from stead_agent.disks.disk_sources import FileSource
from stead_agent.machines.console_log import ConsoleLogs
from stead_agent.machines.host_access import allow_kvm, allow_tpms, give_disk, guests_gid, has_topoext
from stead_agent.machines.interface import MachineError
from stead_agent.machines.process_watch import ProcessWatch

ID = "i-0123456789abcdef0"


def test_the_end_of_a_console_also_from_a_file_rolled_over(tmp_path):
    logs = ConsoleLogs(tmp_path / "consoles")
    assert logs.tail(ID, 1, 10) == b""
    logs.prepare(ID, 1)
    logs.path(ID, 1).write_bytes(b"klmnop")
    logs.path(ID, 1).with_name("1.log.0").write_bytes(b"abcdefghij")
    assert logs.tail(ID, 1, 4) == b"mnop"
    assert logs.tail(ID, 1, 9) == b"hijklmnop"
    assert logs.tail(ID, 1, 100) == b"abcdefghijklmnop"
    assert (logs.exists(ID, 1), logs.exists(ID, 2)) == (True, False)
    logs.prepare(ID, 2)
    assert not logs.exists(ID, 1)
    logs.remove(ID)
    logs.remove(ID)
    assert list((tmp_path / "consoles").iterdir()) == []


def test_a_start_that_resumes_a_guest_continues_its_console(tmp_path):
    logs = ConsoleLogs(tmp_path / "consoles")
    logs.prepare(ID, 1)
    logs.path(ID, 1).write_bytes(b"one ")
    for _ in range(2):  # the first try is interrupted, or fails
        logs.prepare(ID, 2, resumes=1)
        assert not logs.exists(ID, 2)
        assert logs.tail(ID, 2, 100) == b"one "
    logs.path(ID, 2).write_bytes(b"two ")
    logs.path(ID, 2).with_name("2.log.0").write_bytes(b"rolled ")
    assert logs.tail(ID, 2, 100) == b"one rolled two "
    assert logs.tail(ID, 2, 13) == b"e rolled two "
    assert logs.tail(ID, 2, 4) == b"two "
    logs.prepare(ID, 3, resumes=2)
    logs.path(ID, 3).write_bytes(b"three")
    assert logs.tail(ID, 3, 100) == b"one rolled two three"
    assert sorted(path.name for path in (tmp_path / "consoles" / ID).iterdir()) == ["3.before", "3.log"]
    logs.prepare(ID, 4)
    assert logs.tail(ID, 4, 100) == b""
    assert list((tmp_path / "consoles" / ID).iterdir()) == []


def test_what_an_interrupted_start_left_is_not_doubled(tmp_path):
    logs = ConsoleLogs(tmp_path / "consoles")
    logs.prepare(ID, 1)
    log = logs.path(ID, 1)
    log.write_bytes(b"one ")
    logs.prepare(ID, 2, resumes=1)
    log.write_bytes(b"one ")  # as if the agent had been killed before it was deleted
    logs.prepare(ID, 2, resumes=1)
    assert logs.tail(ID, 2, 100) == b"one "
    logs.prepare(ID, 2)  # its memory could not be loaded: it boots
    assert logs.tail(ID, 2, 100) == b""


def test_a_password_is_found_across_files_and_outlives_its_log(tmp_path):
    logs = ConsoleLogs(tmp_path / "consoles")
    assert logs.password(ID, 1) == b""
    logs.prepare(ID, 1)
    logs.path(ID, 1).write_bytes(b"Y29tZXM=</Password>\r\nready\r\n")
    assert logs.password(ID, 1) == b""
    logs.path(ID, 1).with_name("1.log.0").write_bytes(b"boot\r\n<Password>")
    assert logs.password(ID, 1) == b"Y29tZXM="
    for start in (2, 3):
        logs.prepare(ID, start)
        logs.path(ID, start).write_bytes(b"not the first boot\r\n")
        assert logs.password(ID, start) == b"Y29tZXM="
    logs.path(ID, 3).write_bytes(b"<Password>bmV3</Password>")
    assert logs.password(ID, 3) == b"bmV3"
    logs.remove(ID)
    assert logs.password(ID, 3) == b""


def test_a_console_that_is_a_symbolic_link_is_not_followed(tmp_path):
    logs = ConsoleLogs(tmp_path)
    logs.prepare(ID, 1)
    (tmp_path / "canary").write_text("secret")
    logs.path(ID, 1).symlink_to(tmp_path / "canary")
    with pytest.raises(OSError, match="symbolic"):
        logs.tail(ID, 1, 10)


@pytest.fixture
def guest(tmp_path):
    """A process that looks like a guest's."""
    code = "import signal; print(flush=True); signal.pause()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "-name", f"guest={ID},debug-threads=on"], stdout=subprocess.PIPE
    )
    assert process.stdout.readline()  # Popen returns before the kernel shows the arguments of a new program
    (tmp_path / f"{ID}.pid").write_text(str(process.pid))
    yield process
    process.kill()
    process.communicate()


def test_the_end_of_a_process_is_reported(tmp_path, guest):
    reported = threading.Event()
    watch = ProcessWatch(lambda machine_id: machine_id == ID and reported.set(), tmp_path, tmp_path / "awake")
    try:
        watch.watch(ID)
        assert (watch.is_watched(ID), watch.is_gone(ID)) == (True, False)
        before = int(time.time())
        guest.send_signal(signal.SIGKILL)
        assert reported.wait(60)
        after = int(time.time())
        assert (watch.is_watched(ID), watch.is_gone(ID)) == (False, True)
        assert before <= watch.ended(ID) <= after
        watch.forget(ID)
        assert not watch.is_gone(ID)
        assert watch.ended(ID) == 0, "that was forgotten too"
    finally:
        watch.close()


def test_an_end_that_was_seen_stays_when_libvirt_looks_for_the_guest_again(tmp_path, guest):
    awake, reported = tmp_path / "awake", threading.Event()
    awake.touch()
    os.utime(awake, (1_700_000_000, 1_700_000_000))
    watch = ProcessWatch(lambda _id: reported.set(), tmp_path, awake)
    try:
        watch.watch(ID)
        guest.send_signal(signal.SIGKILL)
        assert reported.wait(5)
        guest.wait()
        watch._ends[ID] = ended = 1_800_000_000
        watch.watch(ID)
        assert (watch.is_gone(ID), watch.ended(ID)) == (True, ended)
        del watch._ends[ID]
        assert watch.ended(ID) > 1_700_000_000, "it was watched here, so it did not end before"
    finally:
        watch.close()


def test_an_end_that_nobody_watched_was_when_somebody_last_did(tmp_path, guest):
    awake = tmp_path / "awake"
    first = ProcessWatch(lambda _id: None, tmp_path, awake)
    first.stay_awake()
    first.close()
    os.utime(awake, (1_700_000_000, 1_700_000_000))
    second = ProcessWatch(lambda _id: None, tmp_path, awake)
    try:
        assert second.ended(ID) == 1_700_000_000
        second.stay_awake()
        assert awake.stat().st_mtime > 1_700_000_000
        assert second.ended("i-another") == 1_700_000_000, "its own watching says nothing of it"
        before = int(time.time())
        second.watch(ID)
        seen = second.ended(ID)
        assert seen >= before, "libvirt says that it has ended, and its process is about to"
        assert second.ended(ID) == seen, "what was once said stays"
    finally:
        second.close()


def test_another_process_of_the_number_is_not_mistaken_for_the_guest(tmp_path):
    watch = ProcessWatch(lambda _id: None, tmp_path, tmp_path / "awake")
    try:
        (tmp_path / f"{ID}.pid").write_text(str(os.getpid()))
        watch.watch(ID)
        assert watch.is_gone(ID)
    finally:
        watch.close()


def test_a_disk_is_given_to_one_user_alone(tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(b"x")
    disk.chmod(0o644)
    give_disk(FileSource(disk), None, os.getuid())
    assert disk.stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(disk)
    for path in (tmp_path / "link", tmp_path / "missing", tmp_path):
        with pytest.raises(MachineError):
            give_disk(FileSource(path), None, os.getuid())


def test_the_group_of_guests_is_read_from_capabilities():
    model = "<secmodel><model>{}</model><baselabel type='kvm'>{}</baselabel></secmodel>"
    text = f"<capabilities><host>{model.format('none', '')}{model.format('dac', '+64055:+993')}</host></capabilities>"
    assert guests_gid(text) == 993
    with pytest.raises(MachineError, match="dac"):
        guests_gid("<capabilities><host/></capabilities>")


@pytest.mark.skipif(os.geteuid() != 0, reason="sets an access list")
def test_guests_may_use_kvm_by_an_access_list(tmp_path):
    device = tmp_path / "device"
    device.write_bytes(b"")
    device.chmod(0o660)
    allow_kvm(64055, device)
    assert entries(device) == {"user::rw-", "group::rw-", "group:64055:rw-", "mask::rw-", "other::---"}
    assert device.stat().st_mode & 0o777 == 0o660


@pytest.mark.skipif(os.geteuid() != 0, reason="sets an access list")
def test_guests_may_pass_through_the_folder_of_tpms_and_no_more(tmp_path):
    folder = tmp_path / "swtpm"
    for _ in range(2):
        allow_tpms(64055, folder)
        folder.chmod(0o770)  # as libvirt does at each start
        assert entries(folder) == {"user::rwx", "group::rwx", "group:64055:--x", "mask::rwx", "other::---"}


def entries(path):
    """The access list of a file, as `getfacl` writes it (linux/posix_acl.h)."""
    tags = {0x01: "user", 0x02: "user", 0x04: "group", 0x08: "group", 0x10: "mask", 0x20: "other"}
    found = set()
    for tag, rights, number in struct.iter_unpack("<HHI", os.getxattr(path, "system.posix_acl_access")[4:]):
        shown = "".join(letter if rights & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
        found.add(f"{tags[tag]}:{number if tag in {0x02, 0x08} else ''}:{shown}")
    return found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("processor: 0\nflags\t\t: fpu svm topoext ibs\nbugs: none\n", True),
        ("processor: 0\nflags\t\t: fpu vmx\nbugs: topoext\n", False),
        ("", False),
    ],
)
def test_processors_of_amd_are_known_by_their_feature(tmp_path, text, found):
    (tmp_path / "cpuinfo").write_text(text)
    assert has_topoext(tmp_path / "cpuinfo") is found
