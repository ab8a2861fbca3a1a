"""Blocks of a VPC as EC2 shows them."""

import pytest

from stead_controller.aws.ec2.network.vpc_view import association_view, vpc_view
from stead_controller.db.tables import Vpc
from stead_controller.resources.network.vpcs import DescribedVpc, VpcBlockAssociation

REGION = "us-east-1"


def block(cidr, *, ipv6):
    return VpcBlockAssociation("vpc-1", f"assoc-{cidr}", cidr, ipv6, "associated")


@pytest.mark.parametrize(("cidr", "attribute"), [("fd12:3456::/56", "private"), ("2600:1f00::/56", "public")])
def test_an_ipv6_block_is_private_or_public(cidr, attribute):
    shown = association_view(block(cidr, ipv6=True), REGION)["Ipv6CidrBlockAssociation"]
    assert (shown["Ipv6AddressAttribute"], shown["NetworkBorderGroup"]) == (attribute, REGION)


def test_an_ipv4_block_is_shown_by_another_member():
    assert association_view(block("10.0.0.0/16", ipv6=False), REGION) == {
        "VpcId": "vpc-1",
        "CidrBlockAssociation": {
            "AssociationId": "assoc-10.0.0.0/16",
            "CidrBlock": "10.0.0.0/16",
            "CidrBlockState": {"State": "associated"},
        },
    }


def test_a_vpcs_blocks_of_each_family_are_shown_apart():
    blocks = [block("10.0.0.0/16", ipv6=False), block("fd12::/56", ipv6=True), block("10.1.0.0/16", ipv6=False)]
    shown = vpc_view(DescribedVpc(Vpc(id="vpc-1"), blocks, [("k", "v")]), REGION)
    assert [one["CidrBlock"] for one in shown["CidrBlockAssociationSet"]] == ["10.0.0.0/16", "10.1.0.0/16"]
    assert [one["Ipv6CidrBlock"] for one in shown["Ipv6CidrBlockAssociationSet"]] == ["fd12::/56"]
    assert shown["Tags"] == [{"Key": "k", "Value": "v"}]
