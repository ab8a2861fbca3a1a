"""The `Certificates` service: the change of the authority that signs all certificates."""

import logging
from collections.abc import Callable, Collection
from typing import Any, Protocol

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from sqlalchemy import select

from stead_controller.db.tables import Host
from stead_controller.errors import WrongState
from stead_controller.hosts.link import HostLink
from stead_controller.operator.refusals import partly_done
from stead_controller.operator.transactions import Transactions
from stead_controller.secrets.authority_change import AuthorityChange, Phase
from stead_proto import tls
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc

_log = logging.getLogger(__name__)
_NAMED = 5


class Members(Protocol):
    """The needed part of `db.membership.Membership`."""

    @property
    def others(self) -> Collection[object]:
        """The other controllers that live."""


class Certificates(operator_pb2_grpc.CertificatesServicer):
    """Takes the cloud from one authority to another, a step for each call, once all hosts are ready for the step."""

    def __init__(
        self,
        database: Transactions,
        change: AuthorityChange,
        link: HostLink,
        changed: Callable[[], None],
        membership: Members,
    ) -> None:
        """Store the dependencies; `changed` has this controller use what a step has changed, and tells hosts.

        `membership` knows the other controllers, whose files are their own: no step is taken while there are any.
        """
        self._membership = membership
        self._database = database
        self._change = change
        self._link = link
        self._changed = changed

    async def ListAuthorities(  # noqa: N802 - the name of the RPC
        self, request: pb.ListAuthoritiesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Authorities:
        """Say which authorities are trusted, and which hosts do not have what the present phase gives them."""
        del request, context
        return await self._answer(changed=False)

    async def BeginAuthority(  # noqa: N802 - the name of the RPC
        self, request: pb.BeginAuthorityRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Authorities:
        """Trust a new authority beside the present one."""
        del request, context
        return await self._step(Phase.SETTLED, self._change.begin)

    async def SwitchAuthority(  # noqa: N802 - the name of the RPC
        self, request: pb.SwitchAuthorityRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Authorities:
        """Sign by the new authority, which all hosts must trust by now."""
        del request, context
        return await self._step(Phase.BEGUN, self._change.switch)

    async def FinishAuthority(  # noqa: N802 - the name of the RPC
        self, request: pb.FinishAuthorityRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Authorities:
        """Trust the new authority alone, whose certificates all hosts must have by now."""
        del request, context
        return await self._step(Phase.SWITCHED, self._change.finish)

    async def _step(self, phase: Phase, step: Callable[[], bool]) -> pb.Authorities:
        """Leave a phase, once no host would be cut off by that, and no other controller."""
        if others := len(self._membership.others):
            raise WrongState(
                "authority",
                f"Of {others + 1} controllers each has its own files: stop the others, take all steps, give them "
                "ca, ca.pem, operator.pem and operator-key.pem of this one.",
            )
        if phase is not Phase.SETTLED and self._change.phase is phase and (waiting := await self._waiting()):
            named = ", ".join(waiting[:_NAMED]) + (" and others" if waiting[_NAMED:] else "")
            raise WrongState(
                "authority",
                f"Hosts would be cut off that do not have the certificates of this step: {named}. Have their "
                "agents run, of this release, or remove these hosts.",
            )
        return await self._did(step())

    async def _did(self, changed: bool) -> pb.Authorities:
        # Also where nothing was changed: a controller that was killed in a step has not used it.
        self._changed()
        if changed:
            _log.info("authority_changed", extra={"phase": self._change.phase.value})
        with partly_done():
            return await self._answer(changed=changed)

    async def _answer(self, *, changed: bool) -> pb.Authorities:
        ca_pem = self._change.authority.ca_pem
        trusted = [x509.load_pem_x509_certificate(each) for each in tls.certificates_in(ca_pem)]
        return pb.Authorities(
            phase=self._change.phase.value,
            trusted=[
                pb.Authority(
                    fingerprint=each.fingerprint(hashes.SHA256()).hex(),
                    expires=int(each.not_valid_after_utc.timestamp()),
                )
                for each in trusted
            ],
            waiting=await self._waiting(),
            ca_pem=ca_pem,
            changed=changed,
        )

    async def _waiting(self) -> list[str]:
        """List the hosts that have not said that they have these certificates; one that is away has not."""
        known = await self._database.run(
            lambda tx: list(tx.session.scalars(select(Host.id).order_by(Host.id))), writes=False
        )
        return [host_id for host_id in known if not self._link.is_certified(host_id)]
