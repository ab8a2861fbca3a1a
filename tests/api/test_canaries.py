"""No secret is where others may read it: logs, database, records of calls, answers, arguments, modes, core dumps.

Secrets of all kinds are made, used and misused; then everything that the controller and its simulated hosts keep is
searched for each of them. All that other tests did to the same cloud has been searched as well.
"""

import secrets
import tarfile
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from stead_cli import doctor, support_bundle
from stead_cli.steps import Steps
from tests.support.waiting import wait_for


def canary(kind: str) -> str:
    return f"canary-{kind}-{secrets.token_hex(12)}"


@pytest.fixture
def answers() -> list[str]:
    """All that refusals said."""
    return []


def refused(answers: list[str], call, **params) -> None:
    with pytest.raises(ClientError) as refusal:
        call(**params)
    answers.append(str(refusal.value.response))


@pytest.fixture
def hidden(cloud, account, image_id, answers) -> dict[str, str]:
    """Secrets that this account has used, by what they are."""
    sts, iam, ec2 = account.client("sts"), account.client("iam"), account.ec2
    found = {"root secret": account.secret_access_key, "password": canary("password") + "A1!"}
    given = sts.get_session_token()["Credentials"]
    found |= {"session secret": given["SecretAccessKey"], "session token": given["SessionToken"]}
    boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], "us-east-1").client(
        "sts", endpoint_url=cloud.endpoint
    ).get_caller_identity()
    iam.create_user(UserName="canary")
    found["user secret"] = iam.create_access_key(UserName="canary")["AccessKey"]["SecretAccessKey"]
    device = iam.create_virtual_mfa_device(VirtualMFADeviceName="canary")["VirtualMFADevice"]
    found["seed of a second factor"] = device["Base32StringSeed"].decode()
    iam.create_login_profile(UserName="canary", Password=found["password"])
    refused(answers, iam.create_login_profile, UserName="nobody", Password=found["password"])
    found["private key"] = ec2.create_key_pair(KeyName="canary")["KeyMaterial"].splitlines()[1]
    found["enrolment token"] = cloud.operator.create_token().token
    wrong = canary("wrong-secret")
    found["wrong secret"] = wrong
    stranger = boto3.client(
        "ec2",
        region_name="us-east-1",
        endpoint_url=cloud.endpoint,
        aws_access_key_id=account.access_key_id,
        aws_secret_access_key=wrong,
        aws_session_token=canary("token"),
    )
    refused(answers, stranger.describe_vpcs)
    data = canary("user-data")
    found["user data"] = data
    launch = {"ImageId": image_id, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1}
    launched = ec2.run_instances(**launch, UserData=data)["Instances"][0]["InstanceId"]
    refused(answers, ec2.run_instances, **launch | {"ImageId": "ami-00000000000000000"}, UserData=data)
    refused(answers, ec2.run_instances, **launch, UserData=data * 1000)
    ec2.terminate_instances(InstanceIds=[launched])
    iam.delete_login_profile(UserName="canary")
    iam.delete_virtual_mfa_device(SerialNumber=device["SerialNumber"])
    return found


@pytest.fixture
def bundle(cloud, hidden, tmp_path, monkeypatch) -> bytes:
    """All that is in a support bundle after secrets were used; the cloud's programs write their logs beside its state here."""
    monkeypatch.setattr(doctor, "agent_checks", lambda _chosen: [])  # those of a host, which is none
    cloud.settings.log_dir.mkdir(exist_ok=True)
    for path in cloud.folder.glob("*.log"):
        (cloud.settings.log_dir / path.name).write_bytes(path.read_bytes())
    support_bundle.write(cloud.settings, tmp_path / "bundle.tar.gz", Steps())
    with tarfile.open(tmp_path / "bundle.tar.gz") as tar:
        opened = [tar.extractfile(entry) for entry in tar]
        return b"\n".join(content.read() for content in opened if content is not None)


def files_with(folder: Path, words: dict[str, str], *, but: tuple[str, ...] = ()) -> list[str]:
    """Which files below a folder hold which secrets."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and str(path.relative_to(folder)) not in but:
            content = path.read_bytes()
            found += [f"{kind} in {path}" for kind, word in words.items() if word.encode() in content]
    return found


def test_no_secret_is_where_others_may_read_it(cloud, account, hidden, answers, bundle):
    trail = account.client("cloudtrail")
    looking_for = [{"AttributeKey": "EventName", "AttributeValue": "TerminateInstances"}]
    wait_for(lambda: trail.lookup_events(LookupAttributes=looking_for)["Events"], "all calls are recorded", 10)
    folder = cloud.settings.controller_dir
    in_clear = {"user data": hidden["user data"]}  # of instances, whose owner may read it again: in the database only
    sealed = {kind: word for kind, word in hidden.items() if kind not in in_clear}
    assert files_with(cloud.folder, sealed, but=("controller/credentials.json",)) == []
    assert files_with(folder / "audit", in_clear) == []
    logs = "".join(path.read_text(errors="replace") for path in cloud.folder.rglob("*.log"))
    assert [kind for kind, word in hidden.items() if word in logs or word in "".join(answers)] == []
    assert [kind for kind, word in hidden.items() if word.encode() in bundle] == []
    assert cloud.settings.controller_dir.name.encode() in bundle, "it was read"
    arguments = arguments_of_all()
    assert [kind for kind, word in hidden.items() if word.encode() in arguments] == []
    master = (folder / "master.key").read_bytes()
    keys = {"master key": master.hex()}
    assert files_with(cloud.folder, keys) == []
    assert [word for word in (master, master.hex().encode()) if word in bundle] == []
    assert [path for path in folder.rglob("*") if path.is_file() and master in path.read_bytes()] == [
        folder / "master.key"
    ]


def arguments_of_all() -> bytes:
    """The arguments of every process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return b"".join(found)


def test_what_is_private_is_private_and_no_core_is_left(cloud):
    folder = cloud.settings.controller_dir
    assert folder.stat().st_mode & 0o777 == 0o700
    private = {folder / "master.key", folder / "credentials.json", *folder.rglob("*.jsonl")}
    private |= {path for path in folder.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()}
    assert len(private) >= 6
    assert [path for path in private if path.stat().st_mode & 0o077] == []
    limits = Path(f"/proc/{cloud.controller.process.pid}/limits").read_text()
    [line] = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert line.split()[-3:-1] == ["0", "0"]
