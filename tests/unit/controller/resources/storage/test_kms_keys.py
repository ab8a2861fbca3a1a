"""Names of keys of KMS have one ARN or none."""

import pytest

from stead_controller.resources.storage import kms_keys

ID = "11111111-2222-3333-4444-555555555555"
MULTI_REGION = "mrk-1234567890abcdef1234567890abcdef"
OTHERS = f"arn:aws:kms:eu-west-1:999999999999:key/{ID}"
PREFIX = "arn:aws:kms:us-east-1:111111111111:"


def arn_of(name, account_id="111111111111"):
    return kms_keys.arn_of(name, "aws", "us-east-1", account_id)


@pytest.mark.parametrize("key", [ID, MULTI_REGION])
def test_an_id_is_one_of_the_account_and_an_arn_is_itself(key):
    assert arn_of(key) == arn_of(f"{PREFIX}key/{key}") == f"{PREFIX}key/{key}"
    assert arn_of(OTHERS) == OTHERS


def test_an_alias_always_means_the_same_key():
    one = arn_of("alias/mine")
    assert one == arn_of("alias/mine") == arn_of(f"{PREFIX}alias/mine")
    assert one.startswith(f"{PREFIX}key/")
    assert arn_of(one) == one
    assert len({one, arn_of("alias/other"), arn_of("alias/mine", "222222222222")}) == 3


@pytest.mark.parametrize(
    "name",
    [
        "",
        "aws/s3",
        "key/",
        "alias/",
        "alias/a b",
        f"{ID}\n",
        f"{PREFIX}key/x",
        f"arn:aws:s3:us-east-1:111111111111:{ID}",
    ],
)
def test_what_is_no_name(name):
    assert arn_of(name) is None


def test_which_region_is_named():
    assert (kms_keys.region_of(OTHERS), kms_keys.region_of(ID), kms_keys.region_of("alias/x")) == (
        "eu-west-1",
        None,
        None,
    )
