"""The `Accounts` service."""

from typing import Any

import grpc

from stead_controller.clock import Clock
from stead_controller.errors import SteadError
from stead_controller.operator.peers import refuse, require_operator
from stead_controller.operator.transactions import Transactions
from stead_controller.resources import accounts
from stead_controller.resources.cloud import Cloud
from stead_controller.sealing import Sealer
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc


class Accounts(operator_pb2_grpc.AccountsServicer):
    """Makes and lists accounts."""

    def __init__(self, database: Transactions, cloud: Cloud, sealer: Sealer, clock: Clock) -> None:
        """Take the parts."""
        self._database = database
        self._cloud = cloud
        self._sealer = sealer
        self._clock = clock

    async def CreateAccount(  # noqa: N802 - the name of the RPC
        self, request: pb.CreateAccountRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CreateAccountResponse:
        """Make an account with its own root access key and default VPC."""
        await require_operator(context)
        try:
            made = await self._database.run(
                lambda tx: accounts.create_account(tx, self._sealer, self._cloud, request.name, self._clock())
            )
        except SteadError as error:
            await refuse(context, error)
        return pb.CreateAccountResponse(
            account_id=made.account_id,
            name=made.name,
            access_key_id=made.access_key_id,
            secret_access_key=made.secret_access_key,
        )

    async def ListAccounts(  # noqa: N802 - the name of the RPC
        self, request: pb.ListAccountsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListAccountsResponse:
        """List all accounts."""
        del request
        await require_operator(context)
        found = await self._database.run(accounts.list_accounts, writes=False)
        return pb.ListAccountsResponse(
            accounts=[
                pb.Account(
                    account_id=account.id,
                    name=account.name,
                    created=int(account.created.timestamp()),
                    disabled=account.disabled,
                )
                for account in found
            ]
        )
