"""Metadata options of launches: what the launch says, what its account prefers, what its image is made for."""

import pytest

from stead_controller.db.tables import Image
from tests.api.test_run_instances import run

LAUNCH = {"tokens": "optional", "hops": 1, "endpoint": "enabled", "tags": "disabled"}


def options(api, **params):
    """The options of a new instance."""
    shown = run(api, MetadataOptions=params)["Instances"][0]["MetadataOptions"]
    return {
        "tokens": shown["HttpTokens"],
        "hops": shown["HttpPutResponseHopLimit"],
        "endpoint": shown["HttpEndpoint"],
        "tags": shown["InstanceMetadataTags"],
    }


def defaults(api):
    return api.ec2.get_instance_metadata_defaults()["AccountLevel"]


def need_tokens(api):
    """Have the image made for IMDSv2."""
    api.run(lambda tx: setattr(tx.session.get_one(Image, api.world.image_id), "imds_support", "v2.0"))


def test_an_account_without_preferences(api):
    assert defaults(api) == {"ManagedBy": "account"}
    assert options(api) == LAUNCH


def test_preferences_are_shown_and_taken_back_one_by_one(api):
    modify = api.ec2.modify_instance_metadata_defaults
    assert modify(HttpTokens="required", HttpPutResponseHopLimit=3, HttpEndpoint="disabled")["Return"] is True
    modify(InstanceMetadataTags="enabled", HttpTokensEnforced="disabled")
    assert defaults(api) == {
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 3,
        "HttpEndpoint": "disabled",
        "InstanceMetadataTags": "enabled",
        "HttpTokensEnforced": "disabled",
        "ManagedBy": "account",
    }
    assert options(api) == {"tokens": "required", "hops": 3, "endpoint": "disabled", "tags": "enabled"}
    modify(HttpTokens="no-preference", HttpPutResponseHopLimit=-1)
    assert options(api) == LAUNCH | {"endpoint": "disabled", "tags": "enabled"}
    modify(HttpEndpoint="no-preference", InstanceMetadataTags="no-preference", HttpTokensEnforced="no-preference")
    assert defaults(api) == {"ManagedBy": "account"}
    assert api.other.get_instance_metadata_defaults()["AccountLevel"] == {"ManagedBy": "account"}


def test_the_launch_counts_more_than_the_account_and_that_more_than_the_image(api):
    modify = api.ec2.modify_instance_metadata_defaults
    need_tokens(api)
    assert options(api) == LAUNCH | {"tokens": "required", "hops": 2}
    modify(HttpTokens="optional")
    assert options(api) == LAUNCH | {"tokens": "optional", "hops": 2}
    modify(HttpPutResponseHopLimit=5, InstanceMetadataTags="enabled")
    assert options(api) == LAUNCH | {"hops": 5, "tags": "enabled"}
    asked = {"HttpTokens": "required", "HttpPutResponseHopLimit": 7, "InstanceMetadataTags": "disabled"}
    assert options(api, **asked) == LAUNCH | {"tokens": "required", "hops": 7}


def test_tags_that_cannot_be_shown_are_refused_at_launch(api):
    """By the launch's own options, or by those that the account prefers."""
    odd = [{"ResourceType": "instance", "Tags": [{"Key": "with space", "Value": "1"}]}]
    enabled = {"InstanceMetadataTags": "enabled"}
    said = api.refused("InvalidParameterValue", lambda: run(api, TagSpecifications=odd, MetadataOptions=enabled))
    assert said.startswith("'with space' is not a valid tag key.")
    run(api, TagSpecifications=[odd[0] | {"ResourceType": "volume"}], MetadataOptions=enabled)
    run(api, TagSpecifications=odd)
    api.ec2.modify_instance_metadata_defaults(**enabled)
    api.refused("InvalidParameterValue", lambda: run(api, TagSpecifications=odd))
    run(api, TagSpecifications=odd, MetadataOptions={"InstanceMetadataTags": "disabled"})


def test_enforced_tokens(api):
    instance_id = run(api)["Instances"][0]["InstanceId"]
    api.ec2.modify_instance_metadata_defaults(HttpTokensEnforced="enabled")
    api.refused("UnsupportedOperation", lambda: options(api))
    change = api.ec2.modify_instance_metadata_options
    api.refused("UnsupportedOperation", change, InstanceId=instance_id, HttpTokens="optional")
    change(InstanceId=instance_id, HttpPutResponseHopLimit=2)  # one that was there may stay as it is
    change(InstanceId=instance_id, HttpTokens="required")
    assert options(api, HttpTokens="required")["tokens"] == "required"
    need_tokens(api)
    assert options(api)["tokens"] == "required"


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("MissingParameter", {}),
        ("InvalidParameterValue", {"HttpPutResponseHopLimit": 0}),
        ("InvalidParameterValue", {"HttpPutResponseHopLimit": 65}),
        ("InvalidParameterValue", {"HttpPutResponseHopLimit": -2}),
        ("InvalidParameterValue", {"HttpTokens": "perhaps"}),
        ("InvalidParameterValue", {"HttpTokens": "required", "HttpEndpoint": "no"}),
    ],
)
def test_bad_preferences_are_refused(api, code, change):
    api.refused(code, api.ec2.modify_instance_metadata_defaults, **change)
