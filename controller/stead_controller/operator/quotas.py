"""The `Quotas` service."""

from typing import Any

import grpc

from stead_controller.clock import Clock
from stead_controller.errors import NotFound
from stead_controller.operator.transactions import Transactions
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quota_requests, quotas
from stead_controller.resources.iam import accounts
from stead_controller.resources.quota_requests import RequestRow
from stead_controller.resources.quotas import Quota
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc


class Quotas(operator_pb2_grpc.QuotasServicer):
    """Shows and sets accounts' quotas."""

    def __init__(self, database: Transactions, cloud: Cloud, clock: Clock) -> None:
        """Store the dependencies."""
        self._database = database
        self._cloud = cloud
        self._clock = clock

    async def ListQuotas(  # noqa: N802 - the name of the RPC
        self, request: pb.ListQuotasRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListQuotasResponse:
        """Show the quotas of an account, or those that apply to all."""
        del context

        def look(tx: Transaction) -> list[pb.QuotaValue]:
            account_id = _account(tx, request.account_id)
            own = quotas.set_values(tx, account_id)
            return [
                pb.QuotaValue(
                    service_code=quota.service,
                    quota_code=quota.code,
                    name=quota.name,
                    value=quotas.limit(tx, account_id, quota, cloud=self._cloud),
                    set=(quota.service, quota.code) in own,
                )
                for quota in quotas.ALL
            ]

        return pb.ListQuotasResponse(quotas=await self._database.run(look, writes=False))

    async def SetQuota(  # noqa: N802 - the name of the RPC
        self, request: pb.SetQuotaRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.SetQuotaResponse:
        """Set a quota of an account, or of all."""
        del context

        def change(tx: Transaction) -> None:
            quotas.set_value(tx, _account(tx, request.account_id), _find(request.quota_code), request.value)

        await self._database.run(change)
        return pb.SetQuotaResponse()

    async def ResetQuota(  # noqa: N802 - the name of the RPC
        self, request: pb.ResetQuotaRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ResetQuotaResponse:
        """Delete a quota that was set."""
        del context

        def change(tx: Transaction) -> None:
            quotas.reset(tx, _account(tx, request.account_id), _find(request.quota_code))

        await self._database.run(change)
        return pb.ResetQuotaResponse()

    async def ListQuotaRequests(  # noqa: N802 - the name of the RPC
        self, request: pb.ListQuotaRequestsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListQuotaRequestsResponse:
        """Show accounts' requests for higher quotas."""
        del request, context

        def look(tx: Transaction) -> list[pb.QuotaWish]:
            return [self._request(tx, row) for row in quota_requests.all_open(tx)]

        return pb.ListQuotaRequestsResponse(requests=await self._database.run(look, writes=False))

    async def AnswerQuotaRequest(  # noqa: N802 - the name of the RPC
        self, request: pb.AnswerQuotaRequestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.AnswerQuotaRequestResponse:
        """Grant or refuse a request."""
        del context

        def change(tx: Transaction) -> pb.AnswerQuotaRequestResponse:
            row = quota_requests.answer(tx, self._cloud, request.request_id, self._clock(), grant=request.grant)
            return pb.AnswerQuotaRequestResponse(account_id=row.account_id, quota_code=row.code, desired=row.desired)

        return await self._database.run(change)

    def _request(self, tx: Transaction, row: RequestRow) -> pb.QuotaWish:
        quota = quotas.find(row.service, row.code)
        return pb.QuotaWish(
            request_id=row.id,
            account_id=row.account_id,
            service_code=row.service,
            quota_code=row.code,
            name=quota.name,
            value=quotas.limit(tx, row.account_id, quota, cloud=self._cloud),
            desired=row.desired,
            requester=row.requester,
            created=int(row.created.timestamp()),
        )


def _account(tx: Transaction, name: str) -> str:
    """Return the id of the account with this id or name; an empty name means all accounts."""
    return accounts.find_account(tx, name).id if name else quotas.EVERYONE


def _find(code: str) -> Quota:
    """Return the quota with a code; codes are unique among all services."""
    for quota in quotas.ALL:
        if quota.code == code:
            return quota
    raise NotFound("quota", [code])
