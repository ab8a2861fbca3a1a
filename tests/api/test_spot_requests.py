"""RequestSpotInstances, by which older clients launch: what is made of it, what is refused, and a day of it by `aws`."""

import pytest

from stead_controller.db.tables import Instance
from tests.api.test_authorization import User, refused, statement
from tests.api.test_spot_instances import described, requested

ABSENT_IMAGE = "ami-00000000000000000"


def asked(api, *, specification=None, **given):
    named = {"ImageId": api.world.image_id, "InstanceType": "t3.micro"}
    return {"LaunchSpecification": named | (specification or {})} | given


def request(api, *, client=None, specification=None, **given):
    made = (client or api.ec2).request_spot_instances(**asked(api, specification=specification, **given))
    return made["SpotInstanceRequests"]


def test_each_instance_is_launched_at_once_by_a_request_of_its_own(api):
    tags = [{"Key": "a", "Value": "b"}]
    made = request(
        api,
        InstanceCount=2,
        Type="one-time",
        SpotPrice="0.00224",
        InstanceInterruptionBehavior="terminate",
        TagSpecifications=[{"ResourceType": "spot-instances-request", "Tags": tags}],
    )
    assert [(one["State"], one["Status"]["Code"], one["Tags"]) for one in made] == [("active", "fulfilled", tags)] * 2
    for one in made:
        assert requested(api, one["SpotInstanceRequestId"]) == one
        shown = described(api, one["InstanceId"])
        assert shown["SpotInstanceRequestId"] == one["SpotInstanceRequestId"]
        assert (shown["InstanceLifecycle"], shown["InstanceType"], shown.get("Tags")) == ("spot", "t3.micro", None)
    assert len({one["InstanceId"] for one in made}) == 2
    assert len(request(api)) == 1


def test_all_that_a_specification_says_of_an_instance(api):
    subnet, group = api.world.one.subnet_ids[0], api.world.one.group_id
    api.ec2.create_key_pair(KeyName="me", KeyType="ed25519")
    api.ec2.create_placement_group(GroupName="apart", Strategy="spread")
    [one] = request(
        api,
        specification={
            "InstanceType": "m5.large",
            "KeyName": "me",
            "UserData": "eA==",
            "Monitoring": {"Enabled": True},
            "EbsOptimized": True,
            "SubnetId": subnet,
            "SecurityGroupIds": [group],
            "Placement": {"AvailabilityZone": "us-east-1a", "GroupName": "apart", "Tenancy": "default"},
            "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 7}}],
        },
    )
    shown = described(api, one["InstanceId"])
    assert (shown["InstanceType"], shown["KeyName"], shown["SubnetId"]) == ("m5.large", "me", subnet)
    assert (shown["EbsOptimized"], shown["Placement"]["GroupName"]) == (True, "apart")
    assert shown["Monitoring"]["State"] in ("pending", "enabled")
    assert [each["GroupId"] for each in shown["SecurityGroups"]] == [group]
    data = api.ec2.describe_instance_attribute(InstanceId=one["InstanceId"], Attribute="userData")
    assert data["UserData"]["Value"] == "eA=="
    assert [each["Size"] for each in api.ec2.describe_volumes()["Volumes"] if each["Size"] == 7] == [7]
    interfaces = [{"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group], "Description": "mine"}]
    [one] = request(api, specification={"NetworkInterfaces": interfaces})
    [interface] = described(api, one["InstanceId"])["NetworkInterfaces"]
    assert interface["Description"] == "mine"


@pytest.mark.parametrize(
    ("code", "given", "specification"),
    [
        ("InvalidParameterValue", {"Type": "daily"}, {}),
        ("InvalidParameterValue", {"SpotPrice": "cheap"}, {}),
        ("UnsupportedOperation", {"LaunchGroup": "g"}, {}),
        ("UnsupportedOperation", {"AvailabilityZoneGroup": "g"}, {}),
        ("UnsupportedOperation", {"BlockDurationMinutes": 60}, {}),
        ("InvalidParameterCombination", {"InstanceInterruptionBehavior": "stop"}, {}),
        ("InvalidParameterValue", {"Type": "persistent", "InstanceInterruptionBehavior": "sleep"}, {}),
        ("InvalidParameterValue", {"InstanceCount": 0}, {}),
        (
            "InvalidParameterValue",
            {"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}]},
            {},
        ),
        ("UnsupportedOperation", {}, {"Placement": {"Tenancy": "dedicated"}}),
        ("UnsupportedOperation", {}, {"AddressingType": "public"}),
        ("UnsupportedOperation", {}, {"KernelId": "aki-1"}),
        ("InvalidAMIID.NotFound", {}, {"ImageId": ABSENT_IMAGE}),
        ("MissingParameter", {}, {"ImageId": None}),
    ],
)
def test_bad_requests_change_nothing(api, code, given, specification):
    params = asked(api, specification=specification, **given)
    wanted = {name: value for name, value in params["LaunchSpecification"].items() if value is not None}
    before = api.dump()
    message = api.refused(code, api.ec2.request_spot_instances, **params | {"LaunchSpecification": wanted})
    for name in (*given, *specification):
        if code == "UnsupportedOperation" and name != "Placement":
            assert name in message
    assert api.dump() == before


def test_a_repeated_request_gets_what_the_first_made(api):
    first = request(api, ClientToken="once", InstanceCount=2)
    again = request(api, ClientToken="once", InstanceCount=2)
    ids = [sorted(one["SpotInstanceRequestId"] for one in made) for made in (first, again)]
    assert ids[0] == ids[1]
    assert api.run(lambda tx: tx.session.query(Instance).count()) == 2
    api.refused("IdempotentParameterMismatch", lambda: request(api, ClientToken="once", InstanceCount=1))
    # The token of a launch by another operation is another one.
    assert api.ec2.run_instances(ImageId=api.world.image_id, MinCount=1, MaxCount=1, ClientToken="once")["Instances"]


def test_who_may(api):
    """The right is on the request and on what it names, as in EC2, and not on the instances that it launches."""
    user = User(api)
    ec2, spot = user.client(), "arn:aws:ec2:us-east-1:*:spot-instances-request/*"
    image = f"arn:aws:ec2:us-east-1::image/{api.world.image_id}"
    others = [f"arn:aws:ec2:us-east-1:*:{kind}/*" for kind in ("network-interface", "security-group", "subnet")]
    action = "ec2:RequestSpotInstances"
    assert ":spot-instances-request/*" in refused(lambda: request(api, client=ec2))
    user.may(statement(action, [spot, *others]))
    assert api.world.image_id in refused(lambda: request(api, client=ec2))
    user.may(statement(action, [spot, image, *others]))
    assert len(request(api, client=ec2)) == 1
    tags = [{"ResourceType": "spot-instances-request", "Tags": [{"Key": "a", "Value": "b"}]}]
    assert "ec2:CreateTags" in refused(lambda: request(api, client=ec2, TagSpecifications=tags))
    by_this = {"ec2:CreateAction": "RequestSpotInstances"}
    user.may(statement(action, [spot, image, *others]), statement("ec2:CreateTags", spot, StringEquals=by_this))
    assert len(request(api, client=ec2, TagSpecifications=tags)) == 1


def test_a_day_of_spot_requests_by_the_aws_command(account, image_id):
    ec2 = ("ec2",)
    specification = f"ImageId={image_id},InstanceType=stead.tiny"
    made = account.aws(*ec2, "request-spot-instances", "--launch-specification", specification, "--instance-count", "2")
    ids = sorted(one["SpotInstanceRequestId"] for one in made["SpotInstanceRequests"])
    instances = [one["InstanceId"] for one in made["SpotInstanceRequests"]]
    account.aws(*ec2, "wait", "spot-instance-request-fulfilled", "--spot-instance-request-ids", *ids)
    active = ("--filters", "Name=state,Values=active")
    shown = account.aws(*ec2, "describe-spot-instance-requests", *active)["SpotInstanceRequests"]
    assert sorted(one["SpotInstanceRequestId"] for one in shown) == ids
    prices = account.aws(*ec2, "describe-spot-price-history", "--instance-types", "t3.micro")["SpotPriceHistory"]
    assert {(one["ProductDescription"], one["SpotPrice"]) for one in prices} == {("Linux/UNIX", "0.002240")}
    gone = account.aws(*ec2, "cancel-spot-instance-requests", "--spot-instance-request-ids", *ids)
    assert {one["State"] for one in gone["CancelledSpotInstanceRequests"]} == {"cancelled"}
    account.aws(*ec2, "terminate-instances", "--instance-ids", *instances)
    assert account.aws(*ec2, "describe-spot-instance-requests", *active)["SpotInstanceRequests"] == []
