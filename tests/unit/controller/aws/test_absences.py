"""What does not exist is reported in EC2's words, whatever operation was asked."""

import pytest

from stead_controller.aws import absences
from stead_controller.catalog.nouns import NOUNS
from stead_controller.errors import MissingParameter, NotFound, Unsupported


@pytest.mark.parametrize(
    ("kind", "names", "words"),
    [
        ("instance", ["i-1"], "The instance ID 'i-1' does not exist"),
        ("instance", ["i-1", "i-2"], "The instance IDs 'i-1, i-2' do not exist"),
        ("image", ["ami-1"], "The image id '[ami-1]' does not exist"),
        ("image", ["ami-1", "ami-2"], "The image ids '[ami-1, ami-2]' do not exist"),
        ("vpc", ["vpc-1"], "The vpc ID 'vpc-1' does not exist"),
        ("subnet", ["subnet-1"], "The subnet ID 'subnet-1' does not exist"),
        ("snapshot", ["snap-1"], "The snapshot 'snap-1' does not exist."),
        ("volume", ["vol-1"], "The volume 'vol-1' does not exist."),
        ("security-group", ["sg-1"], "The security group 'sg-1' does not exist"),
        ("route-table", ["rtb-1"], "The routeTable ID 'rtb-1' does not exist"),
        ("internet-gateway", ["igw-1"], "The internetGateway ID 'igw-1' does not exist"),
        ("network-interface", ["eni-1"], "The networkInterface ID 'eni-1' does not exist"),
        ("vpc-peering-connection", ["pcx-1"], "The vpcPeeringConnection ID 'pcx-1' does not exist"),
        ("key-pair", ["mine"], "The key pair 'mine' does not exist"),
        ("public-ip", ["198.51.100.1"], "Address '198.51.100.1' not found."),
        ("natgateway", ["nat-1"], "The Nat Gateway nat-1 was not found"),
        ("something-new", ["x"], "The something new 'x' does not exist"),
    ],
)
def test_what_does_not_exist(kind: str, names: list[str], words: str) -> None:
    assert absences.in_words(NotFound(kind, names)) == words


@pytest.mark.parametrize("kind", sorted(noun.type for noun in NOUNS if noun.sentence))
def test_every_sentence_names_what_is_missing(kind: str) -> None:
    for names in (["a-1"], ["a-1", "a-2"]):
        said = absences.in_words(NotFound(kind, names))
        assert ", ".join(names) in said
        assert "{" not in said


def test_a_message_of_ones_own_stays() -> None:
    assert absences.in_words(NotFound("instance", "i-1", message="Gone.")) == "Gone."
    assert absences.in_words(Unsupported("No.")) == "No."


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SubnetId", "subnetId"),
        ("Attachment.DeleteOnTermination", "attachment.deleteOnTermination"),
        ("AllocationId or PublicIp", "allocationId or publicIp"),
        ("groupName or groupId", "groupName or groupId"),
        ("ResourceId", "resourceIdSet"),
        ("GroupDescription", "GroupDescription"),
        ("Filter.1.Name", "filter.1.name"),
        ("AutoEnableIO.Value", "autoEnableIO.value"),
    ],
)
def test_parameters_are_named_as_ec2_does(name: str, said: str) -> None:
    assert absences.in_words(MissingParameter(name)) == f"The request must contain the parameter {said}"
