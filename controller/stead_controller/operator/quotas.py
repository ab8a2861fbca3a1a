"""The `Quotas` service."""

from typing import Any

import grpc

from stead_controller.errors import NotFound, SteadError
from stead_controller.operator.peers import refuse, require_operator
from stead_controller.operator.transactions import Transactions
from stead_controller.resources import accounts, quotas
from stead_controller.resources.cloud import Cloud
from stead_controller.resources.quotas import Quota
from stead_controller.resources.transaction import Transaction
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc


class Quotas(operator_pb2_grpc.QuotasServicer):
    """Shows and sets what accounts may have."""

    def __init__(self, database: Transactions, cloud: Cloud) -> None:
        """Take the parts."""
        self._database = database
        self._cloud = cloud

    async def ListQuotas(  # noqa: N802 - the name of the RPC
        self, request: pb.ListQuotasRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListQuotasResponse:
        """Show the quotas of an account, or those of all."""
        await require_operator(context)

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

        try:
            return pb.ListQuotasResponse(quotas=await self._database.run(look, writes=False))
        except SteadError as error:
            await refuse(context, error)

    async def SetQuota(  # noqa: N802 - the name of the RPC
        self, request: pb.SetQuotaRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.SetQuotaResponse:
        """Let an account, or all, have so many."""
        await require_operator(context)

        def change(tx: Transaction) -> None:
            quotas.set_value(tx, _account(tx, request.account_id), _find(request.quota_code), request.value)

        try:
            await self._database.run(change)
        except SteadError as error:
            await refuse(context, error)
        return pb.SetQuotaResponse()

    async def ResetQuota(  # noqa: N802 - the name of the RPC
        self, request: pb.ResetQuotaRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ResetQuotaResponse:
        """Forget what was set."""
        await require_operator(context)

        def change(tx: Transaction) -> None:
            quotas.reset(tx, _account(tx, request.account_id), _find(request.quota_code))

        try:
            await self._database.run(change)
        except SteadError as error:
            await refuse(context, error)
        return pb.ResetQuotaResponse()


def _account(tx: Transaction, name: str) -> str:
    """Give the id of an account of this id or name; nothing stands for all accounts."""
    return accounts.find_account(tx, name).id if name else quotas.EVERYONE


def _find(code: str) -> Quota:
    """Give the quota with a code, which is no other service's."""
    for quota in quotas.ALL:
        if quota.code == code:
            return quota
    raise NotFound("quota", [code])
