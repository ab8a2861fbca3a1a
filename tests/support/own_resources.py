"""The resources that an account has created, by kind: empty when a client has removed all that it made."""

from typing import Any

from tests.support.clients import Account


def own_resources(account: Account) -> dict[str, list[Any]]:
    """An account's resources, by kind, except those that every new account has."""
    ec2: Any = account.ec2
    iam, s3, cloudwatch = account.client("iam"), account.client("s3"), account.client("cloudwatch")
    alarms = cloudwatch.describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    instances = [one for group in ec2.describe_instances()["Reservations"] for one in group["Instances"]]
    [default] = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    elsewhere = [{"Name": "vpc-id", "Values": [default["VpcId"]]}]
    first: dict[str, list[Any]] = {
        "Subnets": ec2.describe_subnets(Filters=elsewhere)["Subnets"],
        "SecurityGroups": ec2.describe_security_groups(Filters=elsewhere)["SecurityGroups"],
        "RouteTables": ec2.describe_route_tables(Filters=elsewhere)["RouteTables"],
        "NetworkAcls": ec2.describe_network_acls(Filters=elsewhere)["NetworkAcls"],
    }
    first["InternetGateways"] = ec2.describe_internet_gateways(
        Filters=[{"Name": "attachment.vpc-id", "Values": [default["VpcId"]]}]
    )["InternetGateways"]
    seen: dict[str, list[Any]] = {
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
        "LaunchTemplates": ec2.describe_launch_templates()["LaunchTemplates"],
        "PlacementGroups": ec2.describe_placement_groups()["PlacementGroups"],
        "SpotRequests": [
            one for one in ec2.describe_spot_instance_requests()["SpotInstanceRequests"] if one["State"] == "active"
        ],
        "KeyPairs": ec2.describe_key_pairs()["KeyPairs"],
        "PrefixLists": [
            one for one in ec2.describe_managed_prefix_lists()["PrefixLists"] if one["OwnerId"] == account.account_id
        ],
        "Roles": iam.list_roles()["Roles"],
        "InstanceProfiles": iam.list_instance_profiles()["InstanceProfiles"],
        "Users": iam.list_users()["Users"],
        "Groups": iam.list_groups()["Groups"],
        "Policies": iam.list_policies(Scope="Local")["Policies"],
        "Alarms": [*alarms["MetricAlarms"], *alarms["CompositeAlarms"]],
        "ScalingGroups": account.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"],
        "Dashboards": cloudwatch.list_dashboards()["DashboardEntries"],
        "Topics": account.client("sns").list_topics()["Topics"],
        "Buckets": s3.list_buckets()["Buckets"],
    }
    return {kind: [one for one in all_of_it if one not in first.get(kind, ())] for kind, all_of_it in seen.items()}
