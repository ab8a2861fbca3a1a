"""What SDKs and command lines make, look at and remove by the scripts in `examples/`, unchanged, as their makers ship them."""

import json
import shutil
import sys
from ipaddress import ip_address, ip_network

import pytest

from tests.support import aws_program
from tests.support.processes import ROOT

DEBIAN_LIBRARIES = "usr/lib/x86_64-linux-gnu"


def check(account, said):
    """The script's machine was found by its tag and is gone."""
    answer = json.loads(said)
    assert answer["listed"] == [answer["machine"]]
    [[machine]] = [
        group["Instances"] for group in account.ec2.describe_instances(InstanceIds=[answer["machine"]])["Reservations"]
    ]
    assert machine["State"]["Name"] in {"shutting-down", "terminated"}
    return answer


def test_boto3(account, image_id, example):
    check(account, example(account, "boto3", sys.executable, "machine.py"))
    assert account.ec2.describe_volumes()["Volumes"] == []
    assert account.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []


@pytest.fixture
def aws_cli_1(tmp_path):
    """The program of version 1, which is loaded once."""
    with aws_program.placed_in(tmp_path) as program:
        yield str(program)


def test_aws_cli_1(account, image_id, example, aws_cli_1):
    check(account, example(account, "aws-cli", "./machine.sh", AWS_CLI=aws_cli_1))


def test_a_machine_without_ipv4_by_the_aws_cli(account, image_id, example, aws_cli_1):
    vpcs = account.ec2.describe_vpcs()["Vpcs"]
    answer = json.loads(example(account, "aws-cli", "./ipv6_only.sh", AWS_CLI=aws_cli_1))
    assert ip_address(answer["address"]) in ip_network(answer["block"])
    assert answer["ipv4"] is None
    assert answer["idle"] == {"TcpEstablishedTimeout": 3600, "UdpTimeout": 45}
    assert account.ec2.describe_vpcs()["Vpcs"] == vpcs


@pytest.mark.client("aws-cli-2")
def test_aws_cli_2(account, image_id, example, client, tmp_path):
    packages = client / "debian/usr/lib/python3/dist-packages"
    program = tmp_path / "aws"
    program.write_text(f"#!/bin/sh\nexec /usr/bin/python3 '{client}/debian/usr/bin/aws' \"$@\"\n")
    program.chmod(0o755)
    check(account, example(account, "aws-cli", "./machine.sh", AWS_CLI=str(program), PYTHONPATH=str(packages)))


@pytest.mark.client("javascript")
def test_javascript(account, image_id, example, client, tmp_path):
    shutil.copytree(ROOT / "examples/javascript", tmp_path / "here")
    (tmp_path / "here/node_modules").symlink_to(client / "node_modules")
    answer = check(account, example(account, tmp_path / "here", "node", "machine.mjs"))
    assert answer["account"] == account.account_id


@pytest.mark.client("libcloud")
def test_libcloud(account, image_id, example, client):
    answer = check(account, example(account, "libcloud", client / "venv/bin/python", "machine.py"))
    assert len(answer["addresses"]) == 1
    assert answer["volume"] not in [volume["VolumeId"] for volume in account.ec2.describe_volumes()["Volumes"]]


@pytest.mark.client("fog")
def test_fog(account, image_id, example, client):
    """Its package is not installed but unpacked, so it is shown where it and Ruby's library are."""
    root = client / "debian"
    own = root / DEBIAN_LIBRARIES
    gems = (
        root / "usr/share/rubygems-integration/all",
        own / "rubygems-integration/3.3.0",
        root / "usr/lib/ruby/gems/3.3.0",
    )
    libraries = (
        root / "usr/lib/ruby/vendor_ruby",
        root / "usr/lib/ruby/3.3.0",
        own / "ruby/3.3.0",
        own / "ruby/vendor_ruby/3.3.0",
    )
    places = {
        "LD_LIBRARY_PATH": str(own),
        "GEM_PATH": ":".join(str(gem) for gem in gems),
        "RUBYLIB": ":".join(str(library) for library in libraries),
    }
    assert (
        check(account, example(account, "fog", root / "usr/bin/ruby3.3", "machine.rb", **places))["state"] == "running"
    )
