"""DescribeInstanceImageMetadata: which image an instance was launched from, also when nobody may use that any more."""

from stead_controller.db.tables import Image
from tests.support import rows


def add_image(api, **changes):
    def add(tx):
        image = rows.image(**changes)
        tx.session.add(image)
        tx.session.flush()
        return image.id

    return api.run(add)


def found(api, **asked):
    return api.ec2.describe_instance_image_metadata(**asked)["InstanceImageMetadata"]


def test_what_is_told_of_an_image_that_only_instances_still_have(api):
    owner = api.world.other.caller.account_id
    image_id = add_image(api, account_id=owner, public=False, state="deregistered", name="gone")
    instance_id = api.launch(number=1, image_id=image_id)
    api.ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "a", "Value": "b"}])
    [shown] = found(api, InstanceIds=[instance_id])
    [[instance]] = [each["Instances"] for each in api.ec2.describe_instances()["Reservations"]]
    assert shown.pop("LaunchTime") == instance["LaunchTime"]
    image = shown.pop("ImageMetadata")
    assert shown == {
        "InstanceId": instance_id,
        "InstanceType": instance["InstanceType"],
        "AvailabilityZone": "us-east-1a",
        "ZoneId": "use1-az1",
        "State": instance["State"],
        "OwnerId": api.world.one.caller.account_id,
        "Tags": [{"Key": "a", "Value": "b"}],
        "Operator": {"Managed": False},
    }
    assert image.pop("CreationDate").endswith("Z")
    gone = {"ImageId": image_id, "Name": "gone", "OwnerId": owner, "State": "deregistered"}
    assert image == gone | {"ImageAllowed": True, "IsPublic": False}
    api.run(lambda tx: tx.session.delete(tx.session.get_one(Image, image_id)))
    assert [one["ImageMetadata"] for one in found(api)] == [{"ImageId": image_id}]


def test_which_are_found(api):
    of_cloud = api.launch(number=1)
    own = api.launch(number=2, instance_type="m5.large", image_id=add_image(api, account_id="333333333333"))
    theirs = api.launch(api.world.other, number=3)
    api.ec2.create_tags(Resources=[own], Tags=[{"Key": "a", "Value": "b"}])

    def by(name, *values):
        return {one["InstanceId"] for one in found(api, Filters=[{"Name": name, "Values": list(values)}])}

    assert {one["InstanceId"] for one in found(api)} == by("image-allowed", "true") == {of_cloud, own}
    assert by("owner-alias", "amazon") == {of_cloud}
    assert by("tag:a", "b") == by("instance-type", "m5*") == by("instance-id", own) == {own}
    assert by("zone-id", "use1-az1") == by("instance-state-name", "running") == {of_cloud, own}
    assert by("owner-id", api.world.other.caller.account_id) == by("image-allowed", "false") == set()
    [alias] = [one["ImageMetadata"].get("ImageOwnerAlias") for one in found(api, InstanceIds=[of_cloud])]
    assert alias == "amazon"
    describe = api.ec2.describe_instance_image_metadata
    api.refused("InvalidInstanceID.NotFound", describe, InstanceIds=[theirs])
    api.refused("InvalidParameterValue", describe, Filters=[{"Name": "image-id", "Values": ["x"]}])


def test_pages(api):
    launched = sorted(api.launch(number=number) for number in range(1, 4))
    pages = api.ec2.get_paginator("describe_instance_image_metadata").paginate(PaginationConfig={"PageSize": 2})
    assert [[one["InstanceId"] for one in page["InstanceImageMetadata"]] for page in pages] == [
        launched[:2],
        launched[2:],
    ]
