"""GetLaunchTemplateData through boto3: what an instance has, as the data of a launch template."""

import base64

from tests.api.test_run_instances import run


def test_what_an_instance_was_launched_with(api):
    group = api.world.one.group_id
    api.ec2.create_key_pair(KeyName="me", KeyType="ed25519")
    given = {
        "KeyName": "me",
        "EbsOptimized": True,
        "Monitoring": {"Enabled": True},
        "UserData": "#!/bin/sh\n",
        "DisableApiTermination": True,
        "DisableApiStop": True,
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MaintenanceOptions": {"AutoRecovery": "disabled"},
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 3},
        "PrivateDnsNameOptions": {"HostnameType": "resource-name"},
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}],
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 9, "VolumeType": "gp3", "Iops": 3100}},
            {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 2, "VolumeType": "gp2", "DeleteOnTermination": False}},
        ],
        "NetworkInterfaces": [
            {"DeviceIndex": 0, "Groups": [group], "Description": "first", "AssociatePublicIpAddress": True}
        ],
    }
    [launched] = run(api, InstanceType="t3.nano", **given)["Instances"]
    data = api.ec2.get_launch_template_data(InstanceId=launched["InstanceId"])["LaunchTemplateData"]
    same = (
        "KeyName",
        "EbsOptimized",
        "Monitoring",
        "DisableApiTermination",
        "DisableApiStop",
        "InstanceInitiatedShutdownBehavior",
        "MaintenanceOptions",
        "TagSpecifications",
    )
    assert {name: data[name] for name in same} == {name: given[name] for name in same}
    assert (data["ImageId"], data["InstanceType"]) == (api.world.image_id, "t3.nano")
    assert base64.b64decode(data["UserData"]) == b"#!/bin/sh\n"
    assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 3
    assert data["PrivateDnsNameOptions"]["HostnameType"] == "resource-name"
    root, disk = data["BlockDeviceMappings"]
    assert (root["DeviceName"], root["Ebs"]["Iops"], root["Ebs"]["VolumeSize"]) == ("/dev/sda1", 3100, 9)
    assert disk == {
        "DeviceName": "/dev/sdf",
        "Ebs": {"Encrypted": False, "DeleteOnTermination": False, "VolumeSize": 2, "VolumeType": "gp2"},
    }
    [interface] = data["NetworkInterfaces"]
    assert interface == {
        "DeviceIndex": 0,
        "NetworkCardIndex": 0,
        "InterfaceType": "interface",
        "SubnetId": launched["SubnetId"],
        "Description": "first",
        "DeleteOnTermination": True,
        "AssociatePublicIpAddress": True,
        "Groups": [group],
        "PrivateIpAddresses": [{"Primary": True, "PrivateIpAddress": launched["PrivateIpAddress"]}],
        "Ipv6Addresses": [],
    }


def test_the_data_make_a_template_and_a_second_instance(api):
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}]
    [launched] = run(api, InstanceType="t3.nano", TagSpecifications=tags)["Instances"]
    read = api.ec2.get_launch_template_data
    data = read(InstanceId=launched["InstanceId"])["LaunchTemplateData"]
    for interface in data["NetworkInterfaces"]:
        del interface["PrivateIpAddresses"]  # which the first has still
    made = api.ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=data)
    assert "Warning" not in made
    [version] = api.ec2.describe_launch_template_versions(LaunchTemplateName="web")["LaunchTemplateVersions"]
    assert version["LaunchTemplateData"] == {name: value for name, value in data.items() if value != []} | {
        "NetworkInterfaces": [
            {name: value for name, value in one.items() if value != []} for one in data["NetworkInterfaces"]
        ]
    }
    template = {"LaunchTemplateName": "web"}
    [second] = api.ec2.run_instances(LaunchTemplate=template, MinCount=1, MaxCount=1)["Instances"]
    again = read(InstanceId=second["InstanceId"])["LaunchTemplateData"]
    for interface in again["NetworkInterfaces"]:
        del interface["PrivateIpAddresses"]
    assert again == data


def test_there_is_none_of_what_has_ended(api):
    call = api.ec2.get_launch_template_data
    instance = api.launch()
    api.refused("InvalidInstanceID.NotFound", call, InstanceId="i-" + "0" * 17)
    api.refused("InvalidInstanceID.Malformed", call, InstanceId="i-1")
    api.refused("InvalidInstanceID.NotFound", api.other.get_launch_template_data, InstanceId=instance)
    call(InstanceId=instance)
    ended = api.launch(state="terminated", number=2)
    api.refused("IncorrectInstanceState", call, InstanceId=ended)
