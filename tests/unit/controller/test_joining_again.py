"""A host whose certificate has expired joins a whole controller again, as its agent does it, over real TLS."""

from datetime import timedelta

import grpc
import pytest

from stead_agent.enrol import EnrolmentError, enrol, former_identity
from stead_proto.tls import Identity
from stead_proto.v1 import operator_pb2 as operator
from stead_proto.v1 import operator_pb2_grpc
from tests.unit.controller.test_controller import cloud

__all__ = ["cloud"]


async def test_it_joins_by_a_token_for_it_alone_and_is_who_it_was(cloud, tmp_path):
    host_id, _ = await cloud.enrol()
    authority = cloud.controller.authority
    expired = authority.issue_host(host_id, validity=-timedelta(hours=1))
    expired.save(tmp_path)
    hosts = operator_pb2_grpc.HostsStub(await cloud.operator())
    asked = operator.CreateEnrolmentTokenRequest(host_id=host_id)
    token = (await hosts.CreateEnrolmentToken(asked)).token

    async def join(*, again):
        address = f"127.0.0.1:{cloud.settings.enrolment_port}"
        return await enrol(address, authority.ca_pem, token, tmp_path, "box", again=again)

    with pytest.raises(EnrolmentError, match=f"for the host {host_id} alone"):
        await join(again=False)
    assert Identity.load(tmp_path) == expired
    assert await join(again=True) == host_id
    assert former_identity(tmp_path) is None
    await (await cloud.agent(Identity.load(tmp_path))).next_state()
    [host] = (await hosts.ListHosts(operator.ListHostsRequest())).hosts
    assert (host.id, host.state) == (host_id, "up")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await hosts.CreateEnrolmentToken(asked)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "is up" in refused.value.details()
