"""The controller's gRPC services for operators, called one at a time with the operator's certificate."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import grpc

from stead_cli.errors import CliError
from stead_cli.settings import Settings
from stead_proto import tls
from stead_proto.refusals import is_refusal
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1.operator_pb2_grpc import (
    AccountsStub,
    BillsStub,
    BlocksStub,
    CertificatesStub,
    ConsolesStub,
    HostsStub,
    ImagesStub,
    KeysStub,
    NetworkStub,
    PlacementStub,
    QuotasStub,
    RowsStub,
    TypesStub,
)

_CALL_SECONDS: Final = 45.0  # a controller says after 40 that its database does not answer
_UPLOAD_SECONDS: Final = 3600.0
_CHUNK: Final = 1 << 20

Progress = Callable[[int], None]


class Operator:
    """Calls of an operator; each opens a channel, makes one call and closes it."""

    def __init__(self, settings: Settings) -> None:
        """Read the operator's certificate; CliError when there is none."""
        self._address = f"{settings.listen}:{settings.host_port}"
        self._identity = _read_identity(settings)

    def list_hosts(self) -> list[pb.Host]:
        """All hosts."""
        return list(
            self._call(lambda channel: HostsStub(channel).ListHosts(pb.ListHostsRequest(), timeout=_CALL_SECONDS)).hosts
        )

    def show_host(self, host_id: str) -> pb.Host:
        """One host with what is on it."""
        request = pb.ListHostsRequest(host_id=host_id)
        found: pb.ListHostsResponse = self._call(
            lambda channel: HostsStub(channel).ListHosts(request, timeout=_CALL_SECONDS)
        )
        return found.hosts[0]

    def measure_hosts(self, host_id: str = "") -> list[pb.MeasuredHost]:
        """What hosts and their machines do, of all hosts or of one."""
        request = pb.MeasureHostsRequest(host_id=host_id)
        found: pb.MeasureHostsResponse = self._call(
            lambda channel: HostsStub(channel).MeasureHosts(request, timeout=_CALL_SECONDS)
        )
        return list(found.hosts)

    def repair_hosts(self, host_id: str = "") -> list[pb.RepairedHost]:
        """Have hosts repair themselves, all or one, and say what they did."""
        request = pb.RepairHostsRequest(host_id=host_id)
        found: pb.RepairHostsResponse = self._call(
            lambda channel: HostsStub(channel).RepairHosts(request, timeout=_CALL_SECONDS)
        )
        return list(found.hosts)

    def mend_rows(self, *, only_look: bool = False) -> list[pb.OrphanedRow]:
        """Mend rows of the database that name what is not there, or only look; return them."""
        request = pb.MendRowsRequest(only_look=only_look)
        found: pb.MendRowsResponse = self._call(
            lambda channel: RowsStub(channel).MendRows(request, timeout=_CALL_SECONDS)
        )
        return list(found.rows)

    def create_token(
        self, zone: str = "", valid_seconds: int = 0, *, host_id: str = "", any_authority: bool = False
    ) -> pb.CreateEnrolmentTokenResponse:
        """Make a one-time token with which a machine may enrol, or this host again, maybe one of any authority."""
        request = pb.CreateEnrolmentTokenRequest(
            zone=zone, valid_seconds=valid_seconds, host_id=host_id, any_authority=any_authority
        )
        made: pb.CreateEnrolmentTokenResponse = self._call(
            lambda channel: HostsStub(channel).CreateEnrolmentToken(request, timeout=_CALL_SECONDS)
        )
        if made.host_id != host_id:  # it could make a machine a second host
            raise CliError(
                "the controller is of an earlier release, which makes no token for one host", "stead up there"
            )
        return made

    def set_schedulable(self, host_id: str, *, schedulable: bool) -> pb.Host:
        """Cordon a host, or end that and its draining."""
        request = pb.SetSchedulableRequest(host_id=host_id, schedulable=schedulable)
        changed: pb.Host = self._call(lambda channel: HostsStub(channel).SetSchedulable(request, timeout=_CALL_SECONDS))
        return changed

    def set_host(self, request: pb.SetHostRequest) -> pb.Host:
        """Change what is set for a host."""
        changed: pb.Host = self._call(lambda channel: HostsStub(channel).SetHost(request, timeout=_CALL_SECONDS))
        return changed

    def drain_host(self, host_id: str, *, stop: bool, at: int = 0, latest: int = 0) -> pb.Host:
        """Cordon a host that is to become empty, and maybe stop its guests; the answer names what is on it.

        They are stopped now, or `at` a time, or until `latest` when their users want it; Unix seconds.
        """
        request = pb.DrainHostRequest(host_id=host_id, stop=stop, at=at, latest=latest)
        drained: pb.Host = self._call(lambda channel: HostsStub(channel).DrainHost(request, timeout=_CALL_SECONDS))
        return drained

    def remove_host(self, host_id: str, *, lost: bool) -> None:
        """Forget a host; with one that is lost, what is on it ends."""
        request = pb.RemoveHostRequest(host_id=host_id, lost=lost)
        self._call(lambda channel: HostsStub(channel).RemoveHost(request, timeout=_CALL_SECONDS))

    def discard_unclaimed(self, host_id: str, ids: Sequence[str]) -> None:
        """Make a host remove resources that it has and that the database does not know."""
        request = pb.DiscardUnclaimedRequest(host_id=host_id, ids=ids)
        self._call(lambda channel: HostsStub(channel).DiscardUnclaimed(request, timeout=_CALL_SECONDS))

    def list_unclaimed(self, host_id: str = "") -> list[pb.UnclaimedSummary]:
        """All that hosts, or one, have and that the database does not know: instances first, each with its parts."""
        request = pb.ListUnclaimedRequest(host_id=host_id)
        found: pb.ListUnclaimedResponse = self._call(
            lambda channel: HostsStub(channel).ListUnclaimed(request, timeout=_CALL_SECONDS)
        )
        return list(found.unclaimed)

    def adopt_unclaimed(self, resource_id: str, account_id: str = "", *, dry_run: bool = False) -> list[str]:
        """Make the database know an instance or a volume of a host; return what of it is not as it was."""
        request = pb.AdoptUnclaimedRequest(id=resource_id, account_id=account_id, dry_run=dry_run)
        adopted: pb.AdoptUnclaimedResponse = self._call(
            lambda channel: HostsStub(channel).AdoptUnclaimed(request, timeout=_CALL_SECONDS)
        )
        return list(adopted.notes)

    def remove_unclaimed(self, ids: Sequence[str], host_id: str = "") -> list[pb.UnclaimedSummary]:
        """Make hosts remove what the database does not know; return all that goes."""
        request = pb.RemoveUnclaimedRequest(ids=ids, host_id=host_id)
        gone: pb.RemoveUnclaimedResponse = self._call(
            lambda channel: HostsStub(channel).RemoveUnclaimed(request, timeout=_CALL_SECONDS)
        )
        return list(gone.removed)

    def end_return(self) -> bool:
        """Say that all hosts of a lost controller have joined; tell whether any were awaited."""
        ended: pb.EndReturnResponse = self._call(
            lambda channel: HostsStub(channel).EndReturn(pb.EndReturnRequest(), timeout=_CALL_SECONDS)
        )
        return ended.awaited

    def list_images(self) -> list[pb.ImageSummary]:
        """All images of all accounts."""
        return list(
            self._call(
                lambda channel: ImagesStub(channel).ListImages(pb.ListImagesRequest(), timeout=_CALL_SECONDS)
            ).images
        )

    def remove_image(self, image_id: str) -> None:
        """Forget an image and its file."""
        request = pb.RemoveImageRequest(image_id=image_id)
        self._call(lambda channel: ImagesStub(channel).RemoveImage(request, timeout=_CALL_SECONDS))

    def console(
        self,
        instance_id: str,
        keys: Callable[[], Iterator[bytes]],
        opened: Callable[[], None],
        show: Callable[[bytes], None],
    ) -> None:
        """Join an instance's serial port until the keys or the session end; `keys` is iterated over in a thread.

        An empty piece of keys is nothing typed. `opened` is called when the port is open, `show` with what the guest
        writes.
        """
        is_open = asyncio.Event()

        async def requests() -> AsyncIterator[pb.OpenConsoleRequest]:
            yield pb.OpenConsoleRequest(instance_id=instance_id)
            await is_open.wait()  # sending while a refusal arrives would turn it into an error of gRPC itself
            typed = keys()
            while (piece := await asyncio.to_thread(next, typed, None)) is not None:
                if piece:
                    yield pb.OpenConsoleRequest(content=piece)

        async def call(channel: Any) -> None:
            async for response in ConsolesStub(channel).OpenConsole(requests()):
                if not is_open.is_set():
                    is_open.set()
                    opened()
                show(response.content)

        self._call(call)

    def import_image(
        self, header: pb.ImportImageHeader, path: Path, progress: Progress, stored: Progress | None = None
    ) -> pb.ImportImageResponse:
        """Upload an image file and wait until its blocks are stored.

        `progress` is called with the size of each chunk that was sent, `stored` with the percentage of the disk stored.
        A controller of an earlier release does not acknowledge the header: then CliError is raised after some seconds.
        """
        is_taken = asyncio.Event()

        async def messages() -> AsyncIterator[pb.ImportImageRequest]:
            yield pb.ImportImageRequest(header=header)
            await is_taken.wait()  # sending while a refusal arrives would turn it into an error of gRPC itself
            with path.open("rb") as file:
                while chunk := await asyncio.to_thread(file.read, _CHUNK):
                    yield pb.ImportImageRequest(content=chunk)
                    progress(len(chunk))

        async def call(channel: Any) -> pb.ImportImageResponse:
            response = pb.ImportImageResponse()
            responses = ImagesStub(channel).ImportImage(messages(), timeout=_UPLOAD_SECONDS)
            try:
                async with asyncio.timeout(_CALL_SECONDS) as patience:
                    async for response in responses:
                        patience.reschedule(None)
                        is_taken.set()
                        if stored is not None:
                            stored(response.percent)
            except TimeoutError as error:
                raise CliError(
                    f"the controller at {self._address} did not take the image's header in {_CALL_SECONDS:.0f} seconds",
                    "it may be of an earlier release: ./stead up; or see: ./stead logs controller",
                ) from error
            return response

        return self._call(call)

    def export_image(self, request: pb.ExportImageRequest, path: Path, made: Progress, progress: Progress) -> int:
        """Write a disk of an image to a new sparse file and return its size; an incomplete file is removed.

        `made` is called with percentages while the controller creates the file, `progress` with the size of each chunk.
        """

        async def call(channel: Any) -> int:
            size = 0
            with path.open("xb") as file:
                async for response in ImagesStub(channel).ExportImage(request, timeout=_UPLOAD_SECONDS):
                    made(response.percent)
                    size = response.file_size or size
                    if response.content.count(0) == len(response.content):
                        file.seek(len(response.content), os.SEEK_CUR)
                    else:
                        await asyncio.to_thread(file.write, response.content)
                    progress(len(response.content))
                file.truncate()
                if file.tell() != size:
                    raise CliError(f"{file.tell()} bytes came of {size}", "try again; or see: ./stead logs controller")
            return size

        try:
            return self._call(call)
        except FileExistsError as error:
            raise CliError(f"{path} is there already", "name another file, or remove it") from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def capture(self, resource_id: str, seconds: int, packets: int, snap_length: int) -> pb.CaptureResponse:
        """Capture the packets of an interface for some seconds."""
        request = pb.CaptureRequest(resource_id=resource_id, seconds=seconds, packets=packets, snap_length=snap_length)
        found: pb.CaptureResponse = self._call(
            lambda channel: NetworkStub(channel).Capture(request, timeout=_CALL_SECONDS)
        )
        return found

    def look(self, resource_id: str, to_address: str) -> pb.LookResponse:
        """Get what is in force for an interface on its host."""
        request = pb.LookRequest(resource_id=resource_id, to_address=to_address)
        found: pb.LookResponse = self._call(lambda channel: NetworkStub(channel).Look(request, timeout=_CALL_SECONDS))
        return found

    def explain(self, source: str, destination: str, protocol: str, port: int) -> pb.ExplainResponse:
        """Ask whether traffic gets from a source to a destination and back, and what decides."""
        request = pb.ExplainRequest(source=source, destination=destination, protocol=protocol, port=port)
        found: pb.ExplainResponse = self._call(
            lambda channel: NetworkStub(channel).Explain(request, timeout=_CALL_SECONDS)
        )
        return found

    def scrub_blocks(self, progress: Callable[[pb.ScrubBlocksResponse], None]) -> pb.ScrubBlocksResponse:
        """Check every block of the store; `progress` is called with how far it is. Returns what was found."""

        async def read(channel: Any) -> pb.ScrubBlocksResponse:
            last = pb.ScrubBlocksResponse()
            async for last in BlocksStub(channel).ScrubBlocks(pb.ScrubBlocksRequest()):
                progress(last)
            if not last.finished:
                raise CliError("the controller ended before all blocks were checked", "see: ./stead logs controller")
            return last

        return self._call(read)

    def create_account(self, name: str) -> pb.CreateAccountResponse:
        """Make an isolated account."""
        request = pb.CreateAccountRequest(name=name)
        made: pb.CreateAccountResponse = self._call(
            lambda channel: AccountsStub(channel).CreateAccount(request, timeout=_CALL_SECONDS)
        )
        return made

    def list_accounts(self) -> list[pb.Account]:
        """All accounts."""
        return list(
            self._call(
                lambda channel: AccountsStub(channel).ListAccounts(pb.ListAccountsRequest(), timeout=_CALL_SECONDS)
            ).accounts
        )

    def disable_account(self, account: str, *, disabled: bool) -> pb.Account:
        """Refuse all credentials of an account, or accept them again."""
        request = pb.DisableAccountRequest(account=account, disabled=disabled)
        answer: pb.DisableAccountResponse = self._call(
            lambda channel: AccountsStub(channel).DisableAccount(request, timeout=_CALL_SECONDS)
        )
        return answer.account

    def revoke_sessions(self, account: str, role_name: str) -> None:
        """Revoke all sessions of a role that began before now."""
        request = pb.RevokeSessionsRequest(account=account, role_name=role_name)
        self._call(lambda channel: AccountsStub(channel).RevokeSessions(request, timeout=_CALL_SECONDS))

    def create_root_key(self, account: str) -> pb.CreateRootKeyResponse:
        """Make another root access key of an account."""
        request = pb.CreateRootKeyRequest(account=account)
        made: pb.CreateRootKeyResponse = self._call(
            lambda channel: AccountsStub(channel).CreateRootKey(request, timeout=_CALL_SECONDS)
        )
        return made

    def list_root_keys(self, account: str) -> list[pb.RootKey]:
        """The root access keys of an account."""
        request = pb.ListRootKeysRequest(account=account)
        return list(self._call(lambda channel: AccountsStub(channel).ListRootKeys(request, timeout=_CALL_SECONDS)).keys)

    def delete_root_key(self, account: str, access_key_id: str) -> None:
        """Delete a root access key of an account."""
        request = pb.DeleteRootKeyRequest(account=account, access_key_id=access_key_id)
        self._call(lambda channel: AccountsStub(channel).DeleteRootKey(request, timeout=_CALL_SECONDS))

    def bill(
        self,
        account: str,
        begin: int,
        end: int,
        *,
        by_resource: bool = False,
        by_zone: bool = False,
        tag_keys: Sequence[str] = (),
        prices: str | None = None,
    ) -> list[pb.BillLine]:
        """What an account, or all for an empty name, used in some time (seconds since 1970), and what it costs.

        Zones, resources and values of the cost allocation tags are apart only if that is asked for. `prices` is a price
        book that counts in place of those that were set.
        """
        request = pb.GetBillRequest(
            account_id=account,
            begin=begin,
            end=end,
            by_resource=by_resource,
            by_zone=by_zone,
            tag_keys=tag_keys,
            prices=prices,
        )
        return list(self._call(lambda channel: BillsStub(channel).GetBill(request, timeout=_CALL_SECONDS)).lines)

    def uses(self) -> frozenset[str]:
        """What a price book may have prices of."""
        request = pb.ListUsesRequest()
        return frozenset(self._call(lambda channel: BillsStub(channel).ListUses(request, timeout=_CALL_SECONDS)).names)

    def price_books(self) -> list[pb.StoredPriceBook]:
        """All price books, the default one first."""
        request = pb.ListPriceBooksRequest()
        return list(self._call(lambda channel: BillsStub(channel).ListPriceBooks(request, timeout=_CALL_SECONDS)).books)

    def add_price_book(self, text: str, valid_from: int | None) -> int:
        """Add a price book, valid from a moment or, without one, from now; returns the moment."""
        request = pb.AddPriceBookRequest(text=text, valid_from=valid_from)
        made: pb.AddPriceBookResponse = self._call(
            lambda channel: BillsStub(channel).AddPriceBook(request, timeout=_CALL_SECONDS)
        )
        return made.valid_from

    def list_quotas(self, account_id: str) -> list[pb.QuotaValue]:
        """The quotas of an account or, for an empty id, those of all accounts."""
        request = pb.ListQuotasRequest(account_id=account_id)
        return list(self._call(lambda channel: QuotasStub(channel).ListQuotas(request, timeout=_CALL_SECONDS)).quotas)

    def set_quota(self, code: str, value: int, account_id: str = "") -> None:
        """Set a quota of an account, or of all accounts."""
        request = pb.SetQuotaRequest(account_id=account_id, quota_code=code, value=value)
        self._call(lambda channel: QuotasStub(channel).SetQuota(request, timeout=_CALL_SECONDS))

    def reset_quota(self, code: str, account_id: str = "") -> None:
        """Remove the value that was set for an account, or for all."""
        request = pb.ResetQuotaRequest(account_id=account_id, quota_code=code)
        self._call(lambda channel: QuotasStub(channel).ResetQuota(request, timeout=_CALL_SECONDS))

    def list_quota_requests(self) -> list[pb.QuotaWish]:
        """The quota increases that accounts have requested, the oldest first."""
        request = pb.ListQuotaRequestsRequest()
        return list(
            self._call(lambda channel: QuotasStub(channel).ListQuotaRequests(request, timeout=_CALL_SECONDS)).requests
        )

    def answer_quota_request(self, request_id: str, *, grant: bool) -> pb.AnswerQuotaRequestResponse:
        """Approve or deny a requested quota increase."""
        request = pb.AnswerQuotaRequestRequest(request_id=request_id, grant=grant)
        answer: pb.AnswerQuotaRequestResponse = self._call(
            lambda channel: QuotasStub(channel).AnswerQuotaRequest(request, timeout=_CALL_SECONDS)
        )
        return answer

    def list_types(self) -> list[pb.InstanceType]:
        """All instance types, by name."""
        request = pb.ListTypesRequest()
        return list(self._call(lambda channel: TypesStub(channel).ListTypes(request, timeout=_CALL_SECONDS)).types)

    def explain_placement(self, asked: pb.ExplainPlacementRequest) -> list[pb.JudgedHost]:
        """All hosts, judged for a launch that might be: the one that would be chosen first."""
        return list(
            self._call(lambda channel: PlacementStub(channel).ExplainPlacement(asked, timeout=_CALL_SECONDS)).hosts
        )

    def refused_places(self, zone: str) -> list[pb.RefusedPlace]:
        """The last searches for a host that found none, in a zone or (empty) all zones, the newest first."""
        asked = pb.ListRefusedPlacesRequest(zone=zone)
        return list(
            self._call(lambda channel: PlacementStub(channel).ListRefusedPlaces(asked, timeout=_CALL_SECONDS)).places
        )

    def interrupt_instance(self, instance_id: str) -> int:
        """Give a Spot Instance notice and return when it ends, in Unix seconds."""
        request = pb.InterruptInstanceRequest(instance_id=instance_id)
        answer: pb.InterruptInstanceResponse = self._call(
            lambda channel: PlacementStub(channel).InterruptInstance(request, timeout=_CALL_SECONDS)
        )
        return answer.end_time

    def add_type(self, new_type: pb.InstanceType) -> pb.InstanceType:
        """Add an instance type of one's own and return it as it is listed."""
        request = pb.AddTypeRequest(type=new_type)
        made: pb.AddTypeResponse = self._call(
            lambda channel: TypesStub(channel).AddType(request, timeout=_CALL_SECONDS)
        )
        return made.type

    def remove_type(self, name: str) -> None:
        """Remove an instance type of one's own."""
        request = pb.RemoveTypeRequest(name=name)
        self._call(lambda channel: TypesStub(channel).RemoveType(request, timeout=_CALL_SECONDS))

    def rotate_key(self) -> pb.RotateKeyResponse:
        """Rotate the master key, and seal everything under its new version."""

        async def read(channel: Any) -> pb.RotateKeyResponse:
            messages = [message async for message in KeysStub(channel).RotateKey(pb.RotateKeyRequest())]
            last: pb.RotateKeyResponse = messages[-1] if messages else pb.RotateKeyResponse()
            if not last.finished:
                raise CliError("the controller ended before everything was sealed anew", "it goes on when it starts")
            return last

        return self._call(read)

    def list_key_versions(self) -> list[pb.KeyVersion]:
        """The versions of the master key."""
        request = pb.ListKeyVersionsRequest()
        return list(
            self._call(lambda channel: KeysStub(channel).ListKeyVersions(request, timeout=_CALL_SECONDS)).versions
        )

    def list_authorities(self) -> pb.Authorities:
        """The authorities that are trusted, and the hosts that do not have the certificates of this phase."""
        request = pb.ListAuthoritiesRequest()
        answer: pb.Authorities = self._call(
            lambda channel: CertificatesStub(channel).ListAuthorities(request, timeout=_CALL_SECONDS)
        )
        return answer

    def begin_authority(self) -> pb.Authorities:
        """Trust a new authority beside the present one."""
        request = pb.BeginAuthorityRequest()
        answer: pb.Authorities = self._call(
            lambda channel: CertificatesStub(channel).BeginAuthority(request, timeout=_CALL_SECONDS)
        )
        return answer

    def switch_authority(self) -> pb.Authorities:
        """Sign by the new authority."""
        request = pb.SwitchAuthorityRequest()
        answer: pb.Authorities = self._call(
            lambda channel: CertificatesStub(channel).SwitchAuthority(request, timeout=_CALL_SECONDS)
        )
        return answer

    def finish_authority(self) -> pb.Authorities:
        """Trust the new authority alone."""
        request = pb.FinishAuthorityRequest()
        answer: pb.Authorities = self._call(
            lambda channel: CertificatesStub(channel).FinishAuthority(request, timeout=_CALL_SECONDS)
        )
        return answer

    def _call[Response](self, make: Callable[[Any], Awaitable[Response]]) -> Response:
        """Make one call on a channel of its own; a refusal becomes a CliError."""

        async def run() -> Response:
            async with tls.channel_to_controller(self._address, self._identity) as channel:
                return await make(channel)

        try:
            return asyncio.run(run())
        except grpc.aio.AioRpcError as error:
            raise _explain(error, self._address) from error


def _explain(error: grpc.aio.AioRpcError, address: str) -> CliError:
    """Turn a gRPC status into a message with a hint on how to solve it."""
    if error.code() == grpc.StatusCode.UNAVAILABLE and not is_refusal(error):
        return CliError(f"no controller answers at {address}", "start it: ./stead up; or see: ./stead logs controller")
    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return CliError(f"the controller at {address} did not answer in time", "see: ./stead logs controller")
    return CliError(error.details() or error.code().name)


def _read_identity(settings: Settings) -> tls.Identity:
    folder = settings.access_dir
    try:
        return tls.Identity(
            key_pem=(folder / "operator-key.pem").read_bytes(),
            certificate_pem=(folder / "operator.pem").read_bytes(),
            ca_pem=(folder / "ca.pem").read_bytes(),
        )
    except FileNotFoundError as error:
        raise CliError(f"there is no cloud here yet ({error.filename} is missing)", "make one: ./stead up") from error
    except PermissionError as error:
        raise CliError(
            f"you may not read {error.filename}", "as root, or after one ./stead up of yours by sudo, you may"
        ) from error
