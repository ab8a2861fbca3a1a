"""The operators' Explain over gRPC messages, on rows: verdicts across accounts, and doubts about hosts."""

import asyncio

import pytest
from sqlalchemy import update

from stead_controller.db.tables import Host
from stead_controller.errors import BadRequest, NotFound
from stead_controller.operator.network import Network
from stead_proto.v1 import operator_pb2 as pb


@pytest.fixture
def explain(api):
    """Call Explain as an operator; a refusal is raised."""

    async def nobody(_question):
        raise AssertionError("no host is asked")

    def call(source, destination, port=22, protocol="tcp"):
        request = pb.ExplainRequest(source=source, destination=destination, protocol=protocol, port=port)
        return asyncio.run(Network(api.database, nobody).Explain(request, None))

    return call


def test_a_verdict_with_its_hops_and_ends(api, explain):
    web, db = api.launch(number=1), api.launch(number=2)
    found = explain(web, db)
    assert found.reachable
    assert [hop.reply for hop in found.hops] == sorted(hop.reply for hop in found.hops)
    assert [end.to_address for end in found.ends] == ["172.31.0.6", "172.31.0.5"]
    assert (list(found.reasons), list(found.warnings)) == ([], [])
    closed = api.ec2.create_security_group(GroupName="closed", Description="d")["GroupId"]
    api.ec2.modify_network_interface_attribute(NetworkInterfaceId=found.ends[1].interface_id, Groups=[closed])
    (reason,) = explain(web, db, protocol="icmp", port=0).reasons
    assert (reason.code, reason.component_id) == ("SG_HAS_NO_RULES", found.ends[1].interface_id)
    assert closed in reason.sentence


def test_an_operator_sees_into_other_accounts(api, explain):
    mine = api.launch(number=1, public_address="198.18.0.10")
    theirs = api.launch(api.world.other, number=1, public_address="198.18.0.20")
    found = explain(mine, "198.18.0.20")
    assert [reason.code for reason in found.reasons] == ["ENI_SG_RULES_MISMATCH"]
    assert explain(mine, theirs).reasons == found.reasons  # no peering: by the public address
    permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "198.18.0.10/32"}]}
    api.other.authorize_security_group_ingress(GroupId=api.world.other.group_id, IpPermissions=[permission])
    assert explain(mine, theirs).reachable


def test_hosts_that_may_do_other_than_the_rules_say(api, explain):
    web, db = api.launch(number=1), api.launch(number=2)
    api.run(lambda tx: tx.session.execute(update(Host).values(state="up", revision=7, revision_reached=5)))
    (warning,) = [one for one in explain(web, db).warnings if "5 of 7" in one][:1]
    assert api.world.host_id in warning
    api.run(lambda tx: tx.session.execute(update(Host).values(state="down")))
    assert any("is down" in warning for warning in explain(web, db).warnings)


@pytest.mark.parametrize(
    ("source", "destination", "protocol"),
    [
        ("i-00000000000000000", "203.0.113.1", "tcp"),
        ("nonsense", "203.0.113.1", "tcp"),
        (None, "i-00000000000000000", "tcp"),
        (None, "somewhere", "tcp"),
        (None, "203.0.113.1", "sctp"),
        (None, "2001:db8::1", "tcp"),
    ],
)
def test_what_is_refused(api, explain, source, destination, protocol):
    web = api.launch(number=1)
    with pytest.raises((BadRequest, NotFound)):
        explain(source or web, destination, protocol=protocol)
