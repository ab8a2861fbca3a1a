"""What Karpenter, Cluster API's provider, kops and Packer ask of EC2, in the words of their own source; none of them is here.

Their programs are in no registry that tests reach. Each test sends the requests of one of them, in its order.
"""

import pytest
from botocore.exceptions import ClientError

# Karpenter's names of its tags contain slashes and dots.
CLUSTER = {"Key": "eks:eks-cluster-name", "Value": "blue"}
OWNED = [
    {"Key": "karpenter.sh/nodepool", "Value": "default"},
    {"Key": "karpenter.k8s.aws/ec2nodeclass", "Value": "own"},
]
LIVING = {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped", "shutting-down"]}


def found(pages, key):
    return [one for page in pages for one in page[key]]


@pytest.fixture
def profile(api):
    """The name of an instance profile with a role."""
    iam = api.client(api.world.one, "iam")
    trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
    iam.create_role(RoleName="node", AssumeRolePolicyDocument=trust)
    iam.create_instance_profile(InstanceProfileName="node")
    iam.add_role_to_instance_profile(InstanceProfileName="node", RoleName="node")
    return "node"


def node_template(api, profile, **given):
    """Karpenter's launch template, which it looks for by name before it makes it."""
    data = {
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/sda1",
                "Ebs": {"DeleteOnTermination": True, "Encrypted": True, "VolumeType": "gp3", "VolumeSize": 20},
            }
        ],
        "IamInstanceProfile": {"Name": profile},
        "Monitoring": {"Enabled": False},
        "UserData": "IyEvYmluL3NoCg==",
        "ImageId": api.world.image_id,
        "MetadataOptions": {
            "HttpEndpoint": "enabled",
            "HttpProtocolIpv6": "disabled",
            "HttpPutResponseHopLimit": 1,
            "HttpTokens": "required",
            "InstanceMetadataTags": "disabled",
        },
        "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": [api.world.one.group_id]}],
        "TagSpecifications": [{"ResourceType": "network-interface", "Tags": [CLUSTER, *OWNED]}],
        "Placement": {},
    }
    tags = [{"ResourceType": "launch-template", "Tags": [CLUSTER]}]
    name = "karpenter.k8s.aws/10023232541424"
    with pytest.raises(ClientError, match=r"InvalidLaunchTemplateName\.NotFoundException"):
        api.ec2.describe_launch_templates(LaunchTemplateNames=[name])
    made = api.ec2.create_launch_template(
        LaunchTemplateName=name, LaunchTemplateData=data | given, TagSpecifications=tags
    )
    assert made["LaunchTemplate"]["LaunchTemplateName"] == name
    return name


def fleet(api, name, *overrides):
    tags = [{"ResourceType": kind, "Tags": [CLUSTER, *OWNED]} for kind in ("instance", "volume", "fleet")]
    return api.ec2.create_fleet(
        Type="instant",
        LaunchTemplateConfigs=[
            {
                "Overrides": list(overrides),
                "LaunchTemplateSpecification": {"LaunchTemplateName": name, "Version": "$Latest"},
            }
        ],
        TargetCapacitySpecification={"DefaultTargetCapacityType": "on-demand", "TotalTargetCapacity": 1},
        TagSpecifications=tags,
        OnDemandOptions={"AllocationStrategy": "lowest-price"},
    )


def test_karpenter_learns_what_there_is(api):
    types = found(
        api.ec2.get_paginator("describe_instance_types").paginate(
            Filters=[
                {"Name": "supported-virtualization-type", "Values": ["hvm"]},
                {"Name": "processor-info.supported-architecture", "Values": ["x86_64", "arm64"]},
            ]
        ),
        "InstanceTypes",
    )
    offers = found(
        api.ec2.get_paginator("describe_instance_type_offerings").paginate(LocationType="availability-zone"),
        "InstanceTypeOfferings",
    )
    assert {one["InstanceType"] for one in offers} <= {one["InstanceType"] for one in types}
    zones = {one["ZoneName"]: one["ZoneId"] for one in api.ec2.describe_availability_zones()["AvailabilityZones"]}
    assert {one["Location"] for one in offers} == set(zones)
    for kind in types:  # what it computes a node's pods, storage and price from
        network = kind["NetworkInfo"]
        assert network["MaximumNetworkInterfaces"] >= 1
        assert network["Ipv4AddressesPerInterface"] >= 1
        assert kind["MemoryInfo"]["SizeInMiB"] > 0
        assert kind["VCpuInfo"]["DefaultVCpus"] > 0
        assert network["NetworkCards"][kind["NetworkInfo"]["DefaultNetworkCardIndex"]]["NetworkCardIndex"] == 0
    api.ec2.create_tags(Resources=[api.world.one.subnet_ids[0], api.world.one.group_id], Tags=[CLUSTER])
    by_tag = [{"Name": f"tag:{CLUSTER['Key']}", "Values": [CLUSTER["Value"]]}]
    [subnet] = api.ec2.describe_subnets(Filters=by_tag)["Subnets"]
    assert zones[subnet["AvailabilityZone"]] == subnet["AvailabilityZoneId"]
    assert subnet["AvailableIpAddressCount"] > 0
    [group] = api.ec2.describe_security_groups(Filters=by_tag)["SecurityGroups"]
    assert group["GroupId"] == api.world.one.group_id
    images = [{"Name": "image-id", "Values": [api.world.image_id]}, {"Name": "state", "Values": ["available"]}]
    [image] = found(api.ec2.get_paginator("describe_images").paginate(Filters=images, MaxResults=500), "Images")
    assert image["Architecture"] == "x86_64"


def test_karpenter_makes_a_node_and_ends_it(api, profile):
    name = node_template(api, profile)
    subnet, zone = api.world.one.subnet_ids[0], "us-east-1a"
    place = {"SubnetId": subnet, "ImageId": api.world.image_id, "AvailabilityZone": zone}
    answer = fleet(api, name, {"InstanceType": "m5.large"} | place, {"InstanceType": "c5.large"} | place)
    [made] = answer["Instances"]
    assert made["LaunchTemplateAndOverrides"]["Overrides"]["AvailabilityZone"] == zone
    [node] = made["InstanceIds"]
    listed = [
        {"Name": "tag-key", "Values": ["karpenter.sh/nodepool"]},
        {"Name": "tag-key", "Values": ["karpenter.k8s.aws/ec2nodeclass"]},
        {"Name": f"tag:{CLUSTER['Key']}", "Values": [CLUSTER["Value"]]},
        LIVING,
    ]
    pages = found(api.ec2.get_paginator("describe_instances").paginate(Filters=listed), "Reservations")
    [instance] = [one for page in pages for one in page["Instances"]]
    assert (instance["InstanceId"], instance["InstanceType"]) == (node, made["InstanceType"])
    assert instance["IamInstanceProfile"]["Arn"].endswith(f"/{profile}")
    interface = {"Name": "attachment.instance-id", "Values": [node]}
    [own] = api.ec2.describe_network_interfaces(Filters=[interface])["NetworkInterfaces"]
    assert CLUSTER in own["TagSet"]
    api.ec2.create_tags(Resources=[node], Tags=[{"Key": "Name", "Value": "ip-10-0-0-1"}])
    api.ec2.terminate_instances(InstanceIds=[node])
    [page] = api.ec2.describe_instances(InstanceIds=[node], Filters=[LIVING])["Reservations"]
    assert page["Instances"][0]["State"]["Name"] == "shutting-down"
    by_cluster = [{"Name": f"tag:{CLUSTER['Key']}", "Values": [CLUSTER["Value"]]}]
    pages = api.ec2.get_paginator("describe_launch_templates").paginate(Filters=by_cluster, MaxResults=200)
    [template] = found(pages, "LaunchTemplates")
    api.ec2.delete_launch_template(LaunchTemplateId=template["LaunchTemplateId"])


def test_karpenter_puts_nodes_into_a_placement_group(api, profile):
    group = api.ec2.create_placement_group(GroupName="own", Strategy="partition", PartitionCount=3)["PlacementGroup"]
    name = node_template(api, profile, Placement={"GroupId": group["GroupId"], "PartitionNumber": 2})
    subnet = {"SubnetId": api.world.one.subnet_ids[0]}
    [made] = fleet(api, name, {"InstanceType": "m5.large", "ImageId": api.world.image_id} | subnet)["Instances"]
    [page] = api.ec2.describe_instances(InstanceIds=made["InstanceIds"])["Reservations"]
    placement = page["Instances"][0]["Placement"]
    assert (placement["GroupName"], placement["PartitionNumber"]) == ("own", 2)


def test_karpenter_learns_where_there_is_no_room(api, profile):
    """It remembers type and zone of each error, and asks for others."""
    name = node_template(api, profile)
    place = {"SubnetId": api.world.one.subnet_ids[1], "ImageId": api.world.image_id, "AvailabilityZone": "us-east-1b"}
    answer = fleet(api, name, {"InstanceType": "m5.large"} | place)
    assert answer["Instances"] == []
    [error] = answer["Errors"]
    assert error["ErrorCode"] == "InsufficientInstanceCapacity"
    overrides = error["LaunchTemplateAndOverrides"]["Overrides"]
    assert (overrides["InstanceType"], overrides["AvailabilityZone"]) == ("m5.large", "us-east-1b")


def machine(api, profile, tags):
    """Cluster API's provider launches one of its machines."""
    return api.ec2.run_instances(
        InstanceType="t3.large",
        ImageId=api.world.image_id,
        EbsOptimized=False,
        MaxCount=1,
        MinCount=1,
        UserData="## template: jinja\n",
        NetworkInterfaces=[
            {
                "DeviceIndex": 0,
                "SubnetId": api.world.one.subnet_ids[0],
                "Groups": [api.world.one.group_id],
                "AssociatePublicIpAddress": False,
            }
        ],
        IamInstanceProfile={"Name": profile},
        BlockDeviceMappings=[
            {
                "DeviceName": "/dev/sda1",
                "Ebs": {
                    "DeleteOnTermination": True,
                    "VolumeSize": 8,
                    "Encrypted": True,
                    "VolumeType": "gp3",
                    "Iops": 3000,
                    "Throughput": 125,
                },
            }
        ],
        TagSpecifications=[
            {"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume", "network-interface")
        ],
        MetadataOptions={
            "HttpEndpoint": "enabled",
            "HttpPutResponseHopLimit": 1,
            "HttpTokens": "optional",
            "InstanceMetadataTags": "disabled",
        },
        PrivateDnsNameOptions={"EnableResourceNameDnsARecord": False, "HostnameType": "ip-name"},
        CpuOptions={},
        Placement={"Tenancy": "default", "GroupName": "machines"},
    )["Instances"]


def test_cluster_api_makes_a_machine(api, profile):
    ec2 = api.ec2
    ec2.create_placement_group(GroupName="machines", Strategy="spread")
    tags = [
        {"Key": "Name", "Value": "blue-control-plane-1"},
        {"Key": "sigs.k8s.io/cluster-api-provider-aws/cluster/blue", "Value": "owned"},
    ]
    [made] = machine(api, profile, tags)
    assert made["Placement"]["GroupName"] == "machines"
    by_name = [
        {"Name": "vpc-id", "Values": [api.world.one.vpc_id]},
        {"Name": "tag:sigs.k8s.io/cluster-api-provider-aws/cluster/blue", "Values": ["owned"]},
        {"Name": "tag:Name", "Values": ["blue-control-plane-1"]},
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
    ]
    [page] = ec2.describe_instances(Filters=by_name)["Reservations"]
    assert [one["InstanceId"] for one in page["Instances"]] == [made["InstanceId"]]
    interfaces = ec2.describe_network_interfaces(
        Filters=[{"Name": "attachment.instance-id", "Values": [made["InstanceId"]]}]
    )["NetworkInterfaces"]
    [interface] = interfaces
    ec2.modify_network_interface_attribute(
        NetworkInterfaceId=interface["NetworkInterfaceId"], Groups=[api.world.one.group_id]
    )
    [volume] = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [made["InstanceId"]]}])[
        "Volumes"
    ]
    assert volume["Encrypted"]
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])


def test_kops_makes_a_launch_template_and_finds_it_again(api, profile):
    """Its groups of machines themselves are those of Auto Scaling, which Stead has not."""
    ec2 = api.ec2
    pair = ec2.create_key_pair(KeyName="kubernetes.blue-aa:bb")["KeyName"]
    tags = [{"Key": "KubernetesCluster", "Value": "blue"}, {"Key": "k8s.io/role/node", "Value": "1"}]
    data = {
        "DisableApiTermination": False,
        "EbsOptimized": False,
        "ImageId": api.world.image_id,
        "InstanceType": "t3.medium",
        "NetworkInterfaces": [
            {
                "AssociatePublicIpAddress": True,
                "DeleteOnTermination": True,
                "DeviceIndex": 0,
                "Groups": [api.world.one.group_id],
                "Ipv6AddressCount": 0,
            }
        ],
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/sda1",
                "Ebs": {
                    "DeleteOnTermination": True,
                    "VolumeSize": 64,
                    "VolumeType": "gp3",
                    "Iops": 3000,
                    "Throughput": 125,
                    "Encrypted": True,
                },
            }
        ],
        "KeyName": pair,
        "Monitoring": {"Enabled": False},
        "IamInstanceProfile": {"Name": profile},
        "CreditSpecification": {"CpuCredits": "standard"},
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpProtocolIpv6": "disabled"},
        "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
        "UserData": "IyEvYmluL3NoCg==",
        "Placement": {"Tenancy": "default"},
    }
    name = "nodes.blue"
    of_it = [{"ResourceType": "launch-template", "Tags": tags}]
    ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data, TagSpecifications=of_it)
    listed = [{"Name": "tag:KubernetesCluster", "Values": ["blue"]}]
    assert [one["LaunchTemplateName"] for one in ec2.describe_launch_templates(Filters=listed)["LaunchTemplates"]] == [
        name
    ]
    [latest] = ec2.describe_launch_template_versions(LaunchTemplateName=name, Versions=["$Latest"])[
        "LaunchTemplateVersions"
    ]
    assert latest["LaunchTemplateData"] == data  # it compares each of them, and would change what differs
    made = ec2.create_launch_template_version(
        LaunchTemplateName=name, LaunchTemplateData=data | {"InstanceType": "t3.large"}
    )
    number = str(made["LaunchTemplateVersion"]["VersionNumber"])
    ec2.modify_launch_template(LaunchTemplateName=name, DefaultVersion=number)
    ec2.delete_launch_template(LaunchTemplateName=name)


def test_packer_makes_its_machine(api, profile):
    """What comes before and after it is in `test_create_image.py` and others: key pair, group, stop, image, tags."""
    ec2 = api.ec2
    [image] = ec2.describe_images(Filters=[{"Name": "name", "Values": ["micro-*"]}], Owners=["amazon"])["Images"]
    assert image["RootDeviceType"] == "ebs"
    default = [{"Name": "default-for-az", "Values": ["true"]}, {"Name": "availability-zone", "Values": ["us-east-1a"]}]
    [subnet] = ec2.describe_subnets(Filters=default)["Subnets"]
    offers = ec2.describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": ["t3.micro"]}]
    )["InstanceTypeOfferings"]
    assert "us-east-1a" in {one["Location"] for one in offers}
    group = ec2.create_security_group(GroupName="packer_5f", Description="Temporary group", VpcId=subnet["VpcId"])[
        "GroupId"
    ]
    [made] = ec2.run_instances(
        ImageId=image["ImageId"],
        InstanceType="t3.micro",
        UserData="",
        MaxCount=1,
        MinCount=1,
        IamInstanceProfile={"Name": profile},
        BlockDeviceMappings=[{"DeviceName": "xvdca", "NoDevice": ""}],
        Placement={"AvailabilityZone": "us-east-1a", "Tenancy": "default"},
        EbsOptimized=False,
        CreditSpecification={"CpuCredits": "unlimited"},
        MetadataOptions={"HttpEndpoint": "enabled", "HttpTokens": "optional", "HttpPutResponseHopLimit": 1},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "Packer Builder"}]}],
        NetworkInterfaces=[
            {
                "DeviceIndex": 0,
                "AssociatePublicIpAddress": True,
                "SubnetId": subnet["SubnetId"],
                "Groups": [group],
                "DeleteOnTermination": True,
            }
        ],
        InstanceInitiatedShutdownBehavior="stop",
    )["Instances"]
    ec2.modify_instance_attribute(InstanceId=made["InstanceId"], EnaSupport={"Value": True})
