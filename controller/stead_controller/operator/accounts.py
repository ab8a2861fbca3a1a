"""The `Accounts` service."""

from typing import Any

import grpc

from stead_controller.clock import Clock
from stead_controller.operator.transactions import Transactions
from stead_controller.request.cloud import Cloud
from stead_controller.resources.iam import accounts
from stead_controller.resources.iam.revoke_sessions import revoke_sessions
from stead_controller.resources.operators.create_account import create_account
from stead_controller.secrets.sealing import Sealer
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc


class Accounts(operator_pb2_grpc.AccountsServicer):
    """Creates and lists accounts."""

    def __init__(self, database: Transactions, cloud: Cloud, sealer: Sealer, clock: Clock) -> None:
        """Store the dependencies."""
        self._database = database
        self._cloud = cloud
        self._sealer = sealer
        self._clock = clock

    async def CreateAccount(  # noqa: N802 - the name of the RPC
        self, request: pb.CreateAccountRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CreateAccountResponse:
        """Create an account with its own root access key and default VPC."""
        del context
        made = await self._database.run(
            lambda tx: create_account(tx, self._sealer, self._cloud, request.name, self._clock())
        )
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
        del request, context
        found = await self._database.run(accounts.list_accounts, writes=False)
        return pb.ListAccountsResponse(accounts=[_account(account) for account in found])

    async def DisableAccount(  # noqa: N802 - the name of the RPC
        self, request: pb.DisableAccountRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.DisableAccountResponse:
        """Disable all credentials of an account, or enable them again."""
        del context
        account = await self._database.run(lambda tx: accounts.disable(tx, request.account, disabled=request.disabled))
        return pb.DisableAccountResponse(account=_account(account))

    async def RevokeSessions(  # noqa: N802 - the name of the RPC
        self, request: pb.RevokeSessionsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RevokeSessionsResponse:
        """End all sessions of a role that were begun before now."""
        del context
        await self._database.run(lambda tx: revoke_sessions(tx, request.account, request.role_name, self._clock()))
        return pb.RevokeSessionsResponse()

    async def CreateRootKey(  # noqa: N802 - the name of the RPC
        self, request: pb.CreateRootKeyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CreateRootKeyResponse:
        """Create another root key."""
        del context
        made = await self._database.run(
            lambda tx: accounts.create_root_key(tx, self._sealer, request.account, self._clock())
        )
        return pb.CreateRootKeyResponse(
            account_id=made.account_id, access_key_id=made.access_key_id, secret_access_key=made.secret_access_key
        )

    async def ListRootKeys(  # noqa: N802 - the name of the RPC
        self, request: pb.ListRootKeysRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListRootKeysResponse:
        """List an account's root keys."""
        del context
        found = await self._database.run(lambda tx: accounts.root_keys(tx, request.account), writes=False)
        return pb.ListRootKeysResponse(
            keys=[
                pb.RootKey(
                    access_key_id=key.id,
                    active=key.active,
                    created=int(key.created.timestamp()),
                    last_used=int(key.last_used.timestamp()) if key.last_used else 0,
                )
                for key in found
            ]
        )

    async def DeleteRootKey(  # noqa: N802 - the name of the RPC
        self, request: pb.DeleteRootKeyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.DeleteRootKeyResponse:
        """Delete a root key."""
        del context
        await self._database.run(lambda tx: accounts.delete_root_key(tx, request.account, request.access_key_id))
        return pb.DeleteRootKeyResponse()


def _account(account: accounts.AccountRow) -> pb.Account:
    return pb.Account(
        account_id=account.id,
        name=account.name,
        created=int(account.created.timestamp()),
        disabled=account.disabled,
    )
