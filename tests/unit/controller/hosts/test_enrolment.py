"""A host of a lost cloud says at its enrolment who it was."""

from datetime import timedelta
from unittest.mock import MagicMock

from stead_controller.db.tables import Host
from stead_controller.hosts.enrolment import Enrolment, create_token
from stead_proto.certificates import Authority, new_signing_request
from stead_proto.v1 import host_pb2 as pb
from tests.support.rows import CLOUD, NOW


async def test_a_host_of_a_lost_cloud_is_who_it_was(database, run):
    token, _ = run(create_token, "us-east-1a", timedelta(hours=1), NOW)
    enrolment = Enrolment(database, CLOUD, Authority.create(), lambda: NOW, MagicMock())
    request = pb.EnrolRequest(
        token=token,
        csr_pem=new_signing_request("box")[1],
        hostname="box",
        former_host_id="h-0123456789abcdef0",
        former_pool_address="198.18.0.9",
    )
    answer = await enrolment.Enrol(request, MagicMock(peer=lambda: "ipv4:192.0.2.1:4711"))
    assert answer.host_id == request.former_host_id
    row = run(lambda tx: tx.session.get_one(Host, answer.host_id))
    assert (row.hostname, row.pool_address) == ("box", "198.18.0.9")
