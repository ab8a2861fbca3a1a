"""A public key that is pushed by the unchanged `aws` is in a real guest's metadata when the command has ended."""

import subprocess
from pathlib import Path

from tests.support.real_cloud import User


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
