"""`stead placement explain`: what an operator learns of each host before a launch, or after one was refused."""

import json

import pytest
from click.testing import CliRunner

from stead_cli.placement import placement as commands


@pytest.fixture
def explain(cloud, monkeypatch):
    """Run `stead placement explain` for the shared cloud, whose hosts have room; gives what it prints."""
    monkeypatch.setattr("stead_cli.placement.settings.load", lambda: cloud.settings)

    def run(*arguments, fails=""):
        done = CliRunner().invoke(commands, ["explain", *arguments])
        assert (done.exit_code != 0) is bool(fails), done.output
        assert fails in done.output
        return done.stdout

    return run


def verdicts(text):
    """Return the verdict of each host of a printed table, in its order."""
    lines = [line.split("\t") for line in text.splitlines()]
    assert lines[0][:4] == ["HOST ID", "HOSTNAME", "ZONE", "VERDICT"]
    return [line[3] for line in lines[1:]]


def test_the_first_host_would_be_chosen(explain):
    assert verdicts(explain("stead.tiny")) == ["chosen", "fits"]
    shown = json.loads(explain("stead.tiny", "--output", "json"))
    assert [(one["fits"], one["refusals"]) for one in shown] == [(True, []), (True, [])]
    assert shown[0]["memory_free"] >= shown[1]["memory_free"] > 0
    assert shown[0]["host_id"] != shown[1]["host_id"]


def test_it_is_said_why_hosts_must_not_be_chosen_and_the_caller_gets_ec2s_words(explain, account, image_id):
    for verdict in verdicts(explain("x1.32xlarge", "--volume-gib", "16000", "--tpm")):
        assert verdict.startswith("no: ")
        assert "MiB of memory are free" in verdict
        assert "threads for 128 vCPUs" in verdict
    filters = [one["filter"] for one in json.loads(explain("x1.32xlarge", "--output", "json"))[0]["refusals"]]
    assert filters[0] == "threads"
    assert filters[-1] == "memory"
    with pytest.raises(account.ec2.exceptions.ClientError) as refusal:
        account.ec2.run_instances(ImageId=image_id, InstanceType="x1.32xlarge", MinCount=1, MaxCount=1)
    assert refusal.value.response["Error"]["Code"] == "InsufficientInstanceCapacity"
    words = (
        "We currently do not have sufficient x1.32xlarge capacity in the Availability Zone you requested (us-east-1a)."
    )
    assert refusal.value.response["Error"]["Message"].startswith(words)


def test_the_rules_of_a_placement_group_are_explained(explain, account, image_id):
    own = account.ec2.create_placement_group(GroupName="own", Strategy="spread")["PlacementGroup"]["GroupId"]
    parts = account.ec2.create_placement_group(GroupName="parts", Strategy="partition")["PlacementGroup"]["GroupId"]
    launch = {"ImageId": image_id, "InstanceType": "stead.tiny", "MinCount": 1, "MaxCount": 1}
    ids = [
        account.ec2.run_instances(**launch, Placement={"GroupName": name})["Instances"][0]["InstanceId"]
        for name in ("own", "parts")
    ]
    free, taken = verdicts(explain("stead.tiny", "--group", own))
    assert free == "chosen"
    assert taken.endswith("has an instance of the spread placement group")
    free, taken = verdicts(explain("stead.tiny", "--group", parts))
    assert free == "chosen"
    assert taken.endswith("is of partition 1 of the placement group")
    assert verdicts(explain("stead.tiny", "--group", parts, "--partition", "1")) == ["chosen", "fits"]
    explain("stead.tiny", "--group", parts, "--partition", "3", fails="partitionNumber")
    explain("stead.tiny", "--group", "pg-" + "0" * 17, fails="does not exist")
    account.ec2.terminate_instances(InstanceIds=ids)


def test_the_last_refused_launches_are_explained(explain, account, image_id):
    for _ in range(2):
        with pytest.raises(account.ec2.exceptions.ClientError):
            account.ec2.run_instances(ImageId=image_id, InstanceType="x1.16xlarge", MinCount=1, MaxCount=1)
    (shown,) = json.loads(explain("x1.16xlarge", "--refused", "--zone", "us-east-1a", "--output", "json"))
    assert (shown["times"], shown["zone"], shown["hosts"]) == (2, "us-east-1a", 2)
    assert {one["filter"]: one["hosts"] for one in shown["rules"]} == {"threads": 2, "memory": 2}
    first, *others = explain("--refused").splitlines()
    assert first == "LAST\tTIMES\tINSTANCE TYPE\tZONE\tNEEDS\tWHY"
    (mine,) = [line.split("\t") for line in others if "x1.16xlarge" in line]
    assert mine[1] == "2"
    assert mine[4].startswith("64 vCPUs, 9")
    assert "2 of 2: it has 32 threads for 64 vCPUs" in mine[5]
    explain("--refused", "--uefi", fails="only INSTANCE_TYPE and --zone")
    explain("--refused", "--zone", "us-east-1z", fails="'us-east-1z' is no zone of this cloud")
    explain(fails="give an INSTANCE_TYPE, or --refused")


def test_bad_requests_are_refused(explain):
    explain("t9.nano", fails="'t9.nano' is no instance type of this cloud")
    explain("stead.tiny", "--zone", "us-east-1z", fails="'us-east-1z' is no zone of this cloud")
