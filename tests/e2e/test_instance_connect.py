"""What a real guest learns while it runs: keys that the unchanged `aws` pushes, and what is scheduled for it."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.real_cloud import RealCloud, User
from tests.support.waiting import wait_for


def test_a_pushed_key_is_read_in_the_guest(guest_owner: User, guest: str, tmp_path: Path) -> None:
    machine = guest_owner.connect(guest)
    private, public = tmp_path / "pushed", tmp_path / "pushed.pub"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann", "-f", private], check=True)
    words = ("--instance-id", guest, "--instance-os-user", "admin", "--ssh-public-key", f"file://{public}")
    answer = guest_owner.account.aws("ec2-instance-connect", "send-ssh-public-key", *words)
    assert answer["Success"] is True
    shown = machine.run("imds get meta-data/managed-ssh-keys/active-keys/admin").splitlines()
    assert shown[1:5] == [
        f"#Instance={guest}",
        f"#Caller={guest_owner.account.client('sts').get_caller_identity()['Arn']}",
        f"#Request={answer['RequestId']}",
        " ".join(public.read_text().split()[:2]),
    ]
    assert machine.run("imds get meta-data/managed-ssh-keys/active-keys/").split() == ["admin"]
    now = int(machine.run("date +%s"))
    assert shown[0].startswith("#Timestamp=")
    assert int(shown[0].removeprefix("#Timestamp=")) <= now + 70


def test_a_guest_reads_what_is_scheduled_for_it(real_cloud: RealCloud, guest_owner: User, guest: str) -> None:
    """In the window of its instance, which opens before the latest time; after that it is over."""
    machine, aws = guest_owner.connect(guest), guest_owner.account.aws
    assert machine.run("imds get meta-data/events/maintenance/scheduled").strip() == "[]"
    (host,) = real_cloud.operator.list_hosts()
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).replace(hour=12, minute=30, second=0, microsecond=0)
    later, latest = tomorrow.replace(hour=20, minute=0), tomorrow.replace(hour=21)
    window = aws("ec2", "create-instance-event-window", "--cron-expression", "* 20-23,0-4 * * *")["InstanceEventWindow"]
    named = ("--instance-event-window-id", window["InstanceEventWindowId"])
    aws("ec2", "associate-instance-event-window", *named, "--association-target", f"InstanceIds={guest}")
    try:
        when = ("--at", f"{tomorrow:%Y-%m-%dT%H:%M}", "--latest", f"{latest:%Y-%m-%dT%H:%M}")
        real_cloud.stead_well("host", "drain", host.id, "--stop", "--no-wait", *when)
        (status,) = aws("ec2", "describe-instance-status", "--instance-ids", guest)["InstanceStatuses"]
        (event,) = status["Events"]
        assert datetime.fromisoformat(event["NotBefore"]) == later

        def scheduled() -> Any:
            return json.loads(machine.run("imds get meta-data/events/maintenance/scheduled"))

        (seen,) = wait_for(scheduled, "the guest reads of it")
        assert seen == {
            "NotBefore": f"{later:%d %b %Y %H:%M:%S} GMT",
            "Code": "instance-stop",
            "Description": event["Description"],
            "EventId": event["InstanceEventId"],
            "State": "active",
        }
    finally:
        real_cloud.stead_well("host", "uncordon", host.id)
        aws("ec2", "delete-instance-event-window", *named, "--force-delete")
    wait_for(lambda: scheduled() == [], "nothing is scheduled any more")
    (over,) = json.loads(machine.run("imds get meta-data/events/maintenance/history"))
    assert (over["State"], over["EventId"]) == ("canceled", event["InstanceEventId"])


def test_a_serial_console_is_joined_by_an_unchanged_ssh(
    real_cloud: RealCloud, guest_owner: User, guest: str, tmp_path: Path
) -> None:
    """What the guest writes to its serial port comes out, and what is typed goes in."""
    machine = guest_owner.connect(guest)
    port = real_cloud.settings.serial_console_port
    known = real_cloud.settings.controller_dir / "ca" / "serial-console-key.pub"
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {known.read_text()}")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    guest_owner.ec2.enable_serial_console_access()
    words = ("--instance-id", guest, "--ssh-public-key", f"file://{tmp_path / 'key.pub'}")
    guest_owner.account.aws("ec2-instance-connect", "send-serial-console-ssh-public-key", *words)
    options = ("StrictHostKeyChecking=yes", f"UserKnownHostsFile={tmp_path / 'known'}", "BatchMode=yes")
    command = ["ssh", "-F", "none", "-tt", *(f"-o{option}" for option in options), "-i", str(tmp_path / "key")]
    pipe = subprocess.PIPE
    said = "while ! [ -e /tmp/enough ]; do echo from the guest; usleep 200000; done | sudo tee /dev/ttyS0 >/dev/null"
    with (
        ThreadPoolExecutor(2) as pool,
        subprocess.Popen([*command, "-p", str(port), f"{guest}.port0@127.0.0.1"], stdin=pipe, stdout=pipe) as session,
    ):
        assert session.stdin is not None
        assert session.stdout is not None
        writing = pool.submit(machine.run, said, 100)
        assert any(b"from the guest" in line for line in session.stdout), "the session goes on until it is heard"
        reading = pool.submit(machine.run, "sudo timeout 60 head -n 1 /dev/ttyS0", 100)
        wait_for(lambda: machine.run("pidof head || true").strip(), "the guest reads its serial port")
        session.stdin.write(b"from outside\n")
        session.stdin.flush()
        assert reading.result().strip() == "from outside"
        machine.run("touch /tmp/enough")
        writing.result()
        session.kill()
