"""One controller: all parts are built and connected here; no other module knows them all."""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

import grpc

from stead_controller import due_works
from stead_controller.asking import Asking
from stead_controller.audit.files import both_kinds
from stead_controller.audit.stored_events import AuditEvent
from stead_controller.audit.trail import Trail
from stead_controller.aws import operations, pages
from stead_controller.aws.app import LONGEST_WAIT, AwsApp
from stead_controller.aws.audit import record
from stead_controller.aws.audit.recall import recall
from stead_controller.aws.authenticate import by_opened_keys
from stead_controller.aws.authorization.authorizer import PolicyAuthorizer
from stead_controller.aws.authorization.native import native_gate
from stead_controller.aws.autoscaling import launch as group_launch
from stead_controller.aws.call import OPERATIONS
from stead_controller.aws.call_record import CallRecord
from stead_controller.aws.ec2.fleet import spot_launch
from stead_controller.aws.endpoint_arrivals import EndpointListener
from stead_controller.aws.failed_logins import FailedLogins
from stead_controller.aws.server import AwsServer, Listener
from stead_controller.aws.throttle import Throttle
from stead_controller.blocks import scheduled_scrub
from stead_controller.blocks.collection import collecting
from stead_controller.blocks.open_files import open_files
from stead_controller.blocks.store import BlockStore
from stead_controller.clock import Clock, ClockSteps, now
from stead_controller.db.answered import Answered
from stead_controller.db.schema import bring_up_to_date
from stead_controller.db.session import Database, Transaction
from stead_controller.desired import desired_state, host_networks, revisions
from stead_controller.desired.redraw import redraw
from stead_controller.hosts import link, status_checks
from stead_controller.hosts.block_service import BlockService
from stead_controller.hosts.enrolment import Enrolment
from stead_controller.hosts.first_reports import FirstReports, doubtful
from stead_controller.hosts.link import HostLink
from stead_controller.hosts.liveness import Liveness
from stead_controller.measured_use import MeasuredUse
from stead_controller.metering import usage_days
from stead_controller.metrics.build import open_copies
from stead_controller.metrics.build import open_store as open_metrics
from stead_controller.object_store import expiry
from stead_controller.object_store.backend import Backend
from stead_controller.object_store.bucket_counting import BucketWrites
from stead_controller.object_store.build import build_handler, open_server
from stead_controller.object_store.expiry import ObjectExpiry
from stead_controller.object_store.image_files import ImageFiles
from stead_controller.object_store.operations import NAMES as OBJECT_OPERATIONS
from stead_controller.operator.accounts import Accounts
from stead_controller.operator.bills import Bills
from stead_controller.operator.blocks import Blocks
from stead_controller.operator.certificates import Certificates
from stead_controller.operator.compute import Compute
from stead_controller.operator.consoles import Consoles
from stead_controller.operator.events import InstanceEvents
from stead_controller.operator.hosts import Hosts
from stead_controller.operator.images import Images
from stead_controller.operator.keys import Keys
from stead_controller.operator.network import Network
from stead_controller.operator.operators_only import OperatorsOnly
from stead_controller.operator.placement import Placement
from stead_controller.operator.quotas import Quotas
from stead_controller.operator.recording import MACHINES, OPERATORS, OperatorCall, Recording
from stead_controller.operator.refusals import Refusals
from stead_controller.operator.rows import Rows
from stead_controller.operator.types import Types
from stead_controller.request.cloud import cloud_of
from stead_controller.resources.iam.key_cache import KeyCache
from stead_controller.resources.iam.key_uses import KeyUses
from stead_controller.resources.iam.policies_of_caller import policies_of
from stead_controller.resources.images import image_tasks, imported_images
from stead_controller.resources.network import host_addresses, vpc_endpoint_access, vpc_endpoint_services
from stead_controller.resources.network.vpc_endpoint_access import Via
from stead_controller.resources.operators import cloud_facts, sealed_rows
from stead_controller.resources.storage import object_keys
from stead_controller.room import Room
from stead_controller.secrets.authority_change import AuthorityChange
from stead_controller.secrets.identity_signer import IdentitySigner
from stead_controller.secrets.master_key import MasterKey, require_opening
from stead_controller.secrets.message_signer import MessageSigner
from stead_controller.secrets.oidc_issuers import OidcIssuers
from stead_controller.serial_console import host_key
from stead_controller.serial_console.ssh_server import SerialConsoleServer
from stead_controller.server_certificates import ServerCertificates
from stead_controller.settings import Settings
from stead_controller.sharing import Sharing, names_of_state
from stead_controller.workflows import lifecycle, scaling_groups, usage_metrics
from stead_controller.workflows.alarms import Alarms, WatchedStore
from stead_controller.workflows.budgets import Budgets
from stead_controller.workflows.copy_image import CopyImage
from stead_controller.workflows.create_image import CreateImage
from stead_controller.workflows.data_exports import DataExports
from stead_controller.workflows.due_work import DueWork
from stead_controller.workflows.engine import Engine, MakeLife
from stead_controller.workflows.housekeeping import clean_up
from stead_controller.workflows.image_tasks import ExportTask, ImportTask, Places
from stead_controller.workflows.ingest_image import IngestImage
from stead_controller.workflows.notifications import Notifications
from stead_controller.workflows.recode_snapshot import RecodeSnapshot
from stead_controller.workflows.replace_root_volume import ReplaceRootVolume
from stead_controller.workflows.reseal import Resealing
from stead_controller.workflows.scaling_groups import ScalingGroups
from stead_controller.workflows.snapshot_tiers import TIER_LIVES
from stead_controller.workflows.spot_launches import SpotLaunches
from stead_controller.workflows.usage_metrics import UsageMetrics
from stead_controller.workflows.webhooks import Webhooks
from stead_proto import limits, resident, tls
from stead_proto.certificates import Authority
from stead_proto.v1 import blocks_pb2_grpc, compute_pb2_grpc, host_pb2_grpc, operator_pb2_grpc

if TYPE_CHECKING:
    from stead_controller.exposition.exposition import Exposition

_log = logging.getLogger(__name__)

_HTTPS: Final = 443
_ROOM_SECONDS: Final = 1.0
_NETWORKS_SECONDS: Final = 1.0
_LIVENESS_SECONDS: Final = 5.0
_HOUSEKEEPING_SECONDS: Final = 15.0
_FORGETTING_SECONDS: Final = 600.0
_USES_SECONDS: Final = 5.0
_COLLECTING_SECONDS: Final = 5.0
_COLLECTIONS_AT_ONCE: Final = 100
_RENEWAL_SECONDS: Final = 6 * 3600.0
_GRACE_SECONDS: Final = 2.0
# A machine is sent again at each change of its tags, groups and disks, often soon after its launch, and its document is
# then the same as before. Each takes 2 KiB, and half a millisecond to sign.
_MAX_SIGNED: Final = 512


class Controller:
    """The parts of a running controller."""

    def __init__(self, settings: Settings, clock: Clock = now) -> None:
        """Open the state that `initialise` has made; no port is open yet."""
        self.settings = settings
        self._master_key = MasterKey.of(settings)
        self._sealer = self._master_key.sealer
        self.cloud = replace(cloud_of(settings), sealer=self._sealer, issuers=OidcIssuers(settings.oidc_folder))
        self._room = Room(settings.state_dir)
        self.database = Database(settings.database, self._room)
        self.authority = Authority.load_or_create(settings.state_dir / "ca")
        self._identity_signer = IdentitySigner.load_or_create(settings.state_dir / "ca", self.authority)
        self._message_signer = MessageSigner(settings.state_dir / "ca", self.authority, is_copied=settings.has_server)
        self._clock = clock
        self._clock_steps = ClockSteps(clock)
        self._liveness = Liveness(clock, settings.host_timeout_seconds)
        self._answered = Answered(self.database, LONGEST_WAIT)
        self._keys = KeyCache(self._answered, self._sealer)
        self._authorizer = PolicyAuthorizer(policies_of)
        self._uses = KeyUses(self.database, settings.region)
        self._block_files = open_files(settings)
        grace = timedelta(seconds=settings.block_grace_seconds)
        self._blocks = BlockStore(self.database, self._block_files, clock, grace=grace)
        self._scrub = scheduled_scrub.ScheduledScrub(
            self.database, self._blocks, self._block_files, clock, settings.scrub_days
        )
        server = open_server(settings, lambda: self.database.run(lambda tx: object_keys.of_embedded(tx, self._sealer)))
        objects = Backend(server, (writes := BucketWrites(self._answered)).writing)
        places = Places(settings, ImageFiles(self.database, objects, settings.region), self._blocks)
        self._sharing = Sharing(self.database, settings.reached_at, names_of_state(settings))
        led, leads = self._sharing.led, self._sharing.membership.leads
        self._engine = Engine(self.database, clock, self._new_lives(places), alone=self._sharing.membership.is_alone)
        self._spot_launches = SpotLaunches(led, self.cloud, spot_launch.read, clock, leads)
        self._scaling_groups = ScalingGroups(led, self.cloud, group_launch.read, clock, leads)
        self._notifications = self._new_notifications()
        self._trail = self._new_trail()
        self._throttle = Throttle(settings.request_rate_factor)
        self._failed_logins = FailedLogins(settings.request_rate_factor)
        self._objects = build_handler(
            settings,
            self._answered,
            objects,
            by_opened_keys(self._keys.find),
            self._authorizer,
            on_call=self._note_call,
            require_room=self._room.require,
            throttle=self._throttle,
            failed_logins=self._failed_logins,
            clock=clock,
        )
        self._copies = open_copies(settings)
        self._metrics = WatchedStore(open_metrics(settings, clock, self._copies))
        self._alarms = Alarms(self.database, self._metrics, self.cloud, clock, led=led, leads=leads)
        self._metrics.watch(self._alarms)
        self._measured = MeasuredUse(self.database, clock, self._audit_files, (objects, writes), self._metrics)
        self._budgets = Budgets(led, self.cloud, clock)
        self._exports = DataExports(led, self.cloud, clock, places)
        self._usage = UsageMetrics(self.database, self._metrics, clock)
        self._object_expiry = ObjectExpiry(led, objects, clock)
        self._resealing = Resealing(self._answered, self._master_key, clock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._was_full = False
        self._exposition: Exposition | None = None

    def _new_lives(self, places: Places) -> Mapping[str, MakeLife]:
        """Return all workflows, by kind."""
        database, clock = self.database, self._clock
        patience = self.settings.launch_deadline_seconds
        return {
            CreateImage.kind: partial(CreateImage, database, clock),
            ExportTask.kind: partial(ExportTask, database, clock, places=places),
            ImportTask.kind: partial(ImportTask, database, clock, places=places),
            IngestImage.kind: partial(IngestImage, database, clock, store=self._blocks, sealer=self._sealer),
            CopyImage.kind: partial(CopyImage, database, clock),
            ReplaceRootVolume.kind: partial(ReplaceRootVolume, database, clock, patience_seconds=patience),
            **{kind.kind: partial(kind, database, clock, store=self._blocks) for kind in TIER_LIVES},
            RecodeSnapshot.kind: partial(RecodeSnapshot, database, clock, store=self._blocks, sealer=self._sealer),
        }

    def _new_notifications(self) -> Notifications:
        webhooks = Webhooks(self.settings.webhook_networks, self.settings.webhook_ca_file)
        return Notifications(
            self._sharing.led,
            self.cloud,
            self._clock,
            signer=self._message_signer,
            webhooks=webhooks,
            own_url=self.settings.own_url,
            leads=self._sharing.membership.leads,
        )

    def _new_trail(self) -> Trail[CallRecord | OperatorCall]:
        settings = self.settings
        files, data_files = self._audit_files = both_kinds(settings)
        return Trail(
            self.database,
            files,
            self._record_of,
            recall,
            self._clock,
            days=settings.audit_days,
            most_events=settings.audit_events,
            data_files=data_files,
            room=self._room,
        )

    async def start(self) -> None:
        """Build the services and listen on all ports."""
        settings = self.settings
        self._room.begin()
        bring_up_to_date(self.database.engine, copies=settings.state_dir)
        await asyncio.to_thread(self._sharing.membership.require_same_state)
        require_opening(await self.database.run(lambda tx: sealed_rows.unreadable(tx, self._sealer), writes=False))
        page_key = await self.database.run(lambda tx: cloud_facts.write(tx, self.cloud))
        self._first_reports = await self._awaited_reports()
        await self.database.run(lambda tx: revisions.leap(tx, self._clock()))
        await self.database.run(self._write_host_networks)
        if stuck := await self.database.run(desired_state.remove_ended):
            _log.warning("machines_are_removed_again", extra={"count": stuck})
        if await redraw(self.database):
            _log.info("redrawn")
        events = InstanceEvents()
        woken = (events, self._engine, self._spot_launches, self._scaling_groups, self._notifications)
        for part in woken:
            self.database.on_commit(part.committed)
        await self._take_over_files()
        self._certificates = ServerCertificates(self.authority, settings, self.cloud.zones)
        self._link = HostLink(
            self.database,
            self.cloud,
            self._liveness,
            self._first_reports,
            clock=self._clock,
            authority=self.authority,
            metrics=self._metrics,
            sign=lru_cache(_MAX_SIGNED)(self._identity_signer.sign),
            heartbeat_seconds=settings.heartbeat_seconds,
        )
        self._asking = Asking(self._link, self._blocks.by(self._answered), self._metrics, self._clock)
        key = host_key.load_or_create(settings.state_dir / "ca")
        self._serial_consoles = SerialConsoleServer(self.database, self._link.consoles, key, self._clock)
        self._grpc = self._grpc_server()
        self._enrolment = self._enrolment_server(events)
        operations.load()
        app = self._app(page_key)
        self._aws = AwsServer(
            app,
            self._listeners(),
            pages=pages.everything(self._message_signer, self._answered, settings.region, self._clock, page_key),
            objects=self._objects,
            endpoints=self._endpoints(),
            health=self._health,
        )
        self._tasks |= {asyncio.create_task(loop.run()) for loop in self._loops()}
        self._recording = asyncio.create_task(self._trail.run())
        await self._listen()
        self._begin_work()
        _log.info("controller_started", extra={"http": settings.http_port, "https": settings.https_port})

    def _loops(self) -> Iterator[HostLink | Engine | SpotLaunches | ScalingGroups | Notifications | DueWork]:
        """Yield what runs until the controller stops."""
        loops = (self._engine, self._spot_launches, self._scaling_groups, self._notifications)
        yield from (self._link, *loops)
        works = (
            *due_works.of_loops(*loops, self._alarms),
            *due_works.of_costs(self._budgets, self._exports),
            *due_works.of_rows(self._sharing.led, self.cloud, self._clock, self._blocks),
        )
        yield DueWork(self.database, self._engine.present, *works, leads=self._sharing.membership.leads)

    async def _listen(self) -> None:
        """Open all ports."""
        settings = self.settings
        await self._grpc.start()
        await self._enrolment.start()
        await self._aws.start()
        if settings.prometheus_port:
            self._exposition = self._new_exposition()
            await self._exposition.start()
        if settings.serial_console_port:
            self._serial_consoles.start(settings.listen, settings.serial_console_port)

    async def _awaited_reports(self) -> FirstReports:
        """Begin to wait for hosts, if the database may be an older copy."""
        seconds = self.settings.host_timeout_seconds
        awaited = FirstReports(seconds)
        awaited.expect(await self.database.run(lambda tx: doubtful(tx, self._clock(), seconds), writes=False))
        return awaited

    def _app(self, page_key: bytes) -> AwsApp:
        """Build the application that answers the AWS APIs."""
        return AwsApp(
            transactions=self._answered,
            find_key=by_opened_keys(self._keys.find),
            cloud=self.cloud,
            page_key=page_key,
            authorizer=self._authorizer,
            ask=self._asking.ask,
            on_call=self._note_call,
            require_room=self._room.require,
            require_room_for_deletion=self._room.require_for_deletion,
            until_hosts_reported=self._first_reports.wait,
            throttle=self._throttle,
            failed_logins=self._failed_logins,
            any_region=self.settings.any_region,
            clock=self._clock,
        )

    def _new_exposition(self) -> "Exposition":
        """Build the page for Prometheus."""
        from stead_controller.exposition.exposition import Exposition  # noqa: PLC0415 - its library: only where wanted

        queues: Mapping[str, Callable[[], int]] = {
            "reads": partial(self.database.waiting, writes=False),
            "writes": partial(self.database.waiting, writes=True),
            "audit": lambda: self._trail.queued,
            "workflow_steps": lambda: self._engine.running,
            "metrics_copies": lambda: self._copies.waiting if self._copies is not None else 0,
        }
        return Exposition(
            self.database,
            self._clock,
            address=(self.settings.prometheus_listen, self.settings.prometheus_port),
            operations=[*OPERATIONS, *(("s3", name) for name in OBJECT_OPERATIONS)],
            queues=queues,
            connected=lambda: len(self._link.connected()),
            dropped=lambda: self._trail.dropped,
            has_database=lambda: self._sharing.membership.has_database,
        )

    def _begin_work(self) -> None:
        """Start to share the work with other controllers, the periodic tasks, and to send copies of metrics."""
        led_loops = (self._spot_launches, self._scaling_groups, self._notifications)
        sharing = self._sharing.run(self._link, (self._throttle, self._failed_logins), (self._metrics,), led_loops)
        self._tasks.add(asyncio.create_task(sharing))
        if self._copies is not None:
            self._tasks.add(asyncio.create_task(self._copies.run()))
        self._every(_ROOM_SECONDS, self._take_room)
        self._every(_NETWORKS_SECONDS, self._link.send_host_addresses)
        self._every(_NETWORKS_SECONDS, self._link.awaited.send)
        self._every(_LIVENESS_SECONDS, self._link.write_liveness)
        give_back = partial(asyncio.to_thread, resident.give_back)
        for cleaning in (give_back, self._trail.remove_old):
            self._every(_HOUSEKEEPING_SECONDS, cleaning)
        for cleaning in (self._clean_up, self._resealing.clean_up, self._run_lifecycle):
            self._every(_HOUSEKEEPING_SECONDS, self._sharing.only_one(cleaning))
        self._every(_USES_SECONDS, self._uses.write)
        for seconds, work in self._measured.loops():
            self._every(seconds, work)
        self._every(_RENEWAL_SECONDS, self._certificates.renew_in_time)
        for forgetful in (self._alarms, self._budgets, self._scaling_groups, self._notifications):
            self._every(_FORGETTING_SECONDS, self._sharing.only_one(forgetful.forget))
        works: tuple[tuple[float, Callable[[], Awaitable[None]]], ...] = (
            (scaling_groups.METRICS_SECONDS, partial(self._scaling_groups.measure, self._metrics)),
            (expiry.INTERVAL_SECONDS, self._object_expiry.run),
            (status_checks.SECONDS, partial(status_checks.write, self.database, self._metrics, self._clock)),
            (scheduled_scrub.INTERVAL_SECONDS, self._scrub.run),
            (_COLLECTING_SECONDS, self._collect_blocks),
        )
        for seconds, work in works:
            self._every(seconds, self._sharing.only_one(work))
        self._every(usage_metrics.SECONDS, self._usage.write)

    async def stop(self) -> None:
        """End the streams, while calls of the APIs are answered still, then running requests, and close the state."""
        await asyncio.gather(self._grpc.stop(_GRACE_SECONDS), self._enrolment.stop(_GRACE_SECONDS))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._sharing.membership.end)
        await self._serial_consoles.stop()
        if self._exposition is not None:
            await self._exposition.stop()
        await self._aws.stop()
        await self._objects.close()
        await self._metrics.close()
        self._recording.cancel()  # last, because answers to clients wait for it
        await asyncio.gather(self._recording, return_exceptions=True)
        await self._trail.close()
        self._blocks.close()
        self.database.close()
        _log.info("controller_stopped")

    def _grpc_server(self) -> grpc.aio.Server:
        """Build the gRPC server for hosts and operators, all of which present a certificate."""
        recording, only = Recording(OPERATORS, self._trail.note, self._clock), OperatorsOnly(OPERATORS.services)
        server = grpc.aio.server(interceptors=[recording, only, Refusals()], options=limits.server_options())
        link.serve(self._link, server)
        blocks_pb2_grpc.add_BlockStoreServicer_to_server(BlockService(self.database, self._blocks, self._clock), server)
        answered, blocks = self._answered, self._blocks.by(self._answered)
        operator_pb2_grpc.add_HostsServicer_to_server(
            Hosts(answered, self.cloud, self._clock, self.authority, self._link), server
        )
        operator_pb2_grpc.add_ImagesServicer_to_server(
            Images(answered, blocks, self.cloud, self._clock, folder=self.settings.incoming_folder), server
        )
        operator_pb2_grpc.add_AccountsServicer_to_server(
            Accounts(answered, self.cloud, self._sealer, self._clock), server
        )
        operator_pb2_grpc.add_BlocksServicer_to_server(Blocks(answered, blocks, self._block_files, self._clock), server)
        operator_pb2_grpc.add_KeysServicer_to_server(Keys(self._master_key, self._resealing), server)
        operator_pb2_grpc.add_QuotasServicer_to_server(Quotas(answered, self.cloud, self._clock), server)
        operator_pb2_grpc.add_BillsServicer_to_server(Bills(answered, self._clock, self.settings.region), server)
        operator_pb2_grpc.add_RowsServicer_to_server(Rows(answered, self._clock), server)
        operator_pb2_grpc.add_ConsolesServicer_to_server(Consoles(answered, self._link.consoles), server)
        operator_pb2_grpc.add_TypesServicer_to_server(Types(answered, self._clock), server)
        operator_pb2_grpc.add_PlacementServicer_to_server(Placement(answered, self.cloud, self._clock), server)
        operator_pb2_grpc.add_NetworkServicer_to_server(Network(answered, self._asking.ask), server)
        change = AuthorityChange(self.settings.state_dir / "ca", self.authority)
        operator_pb2_grpc.add_CertificatesServicer_to_server(
            Certificates(answered, change, self._link, self._authority_changed, self._sharing.membership), server
        )
        credentials = tls.changing_server_credentials(lambda: self._certificates.identity)
        server.add_secure_port(f"{self.settings.listen}:{self.settings.host_port}", credentials)
        return server

    def _enrolment_server(self, events: InstanceEvents) -> grpc.aio.Server:
        """Build the gRPC server for machines that are no hosts yet and for the native API's clients."""
        recording = Recording(MACHINES, self._trail.note, self._clock)
        server = grpc.aio.server(interceptors=[recording, Refusals()], options=limits.server_options())
        enrolment = Enrolment(self._answered, self.cloud, self.authority, self._clock, self._failed_logins)
        host_pb2_grpc.add_EnrolmentServicer_to_server(enrolment, server)
        compute_pb2_grpc.add_ComputeServicer_to_server(self._compute(events), server)
        credentials = tls.changing_server_credentials(lambda: self._certificates.identity, require_client_auth=False)
        server.add_secure_port(f"{self.settings.listen}:{self.settings.enrolment_port}", credentials)
        return server

    def _authority_changed(self) -> None:
        """Show and trust what the authority is now, and tell hosts."""
        self._certificates.renew()
        self._link.send_authorities()

    def _listeners(self) -> list[Listener]:
        context = self._certificates.https
        settings = self.settings
        listeners = [
            Listener(settings.listen, settings.http_port),
            Listener(settings.listen, settings.https_port, context),
        ]
        if settings.guest_listen:
            listeners += [replace(one, host=settings.guest_listen, may_be_absent=True) for one in listeners]
        return listeners

    def _endpoints(self) -> EndpointListener:
        """Build the server to which hosts forward requests made through VPC endpoints; hosts show certificates."""
        settings = self.settings

        async def admit(host_id: str, endpoint_id: str) -> Via | None:
            return await self.database.run(lambda tx: vpc_endpoint_access.admit(tx, host_id, endpoint_id), writes=False)

        ports = frozenset({_HTTPS, settings.https_port})
        certificates, port = self._certificates, settings.endpoint_port
        return EndpointListener(
            settings.listen, port, certificates.hosts, certificates.endpoints.context_of, ports, admit
        )

    def _compute(self, events: InstanceEvents) -> Compute:
        """Build the native API, which checks the same policies as the AWS APIs."""
        gate = native_gate(self._authorizer, self.cloud, self._clock)
        return Compute(
            self._answered,
            self.cloud,
            events,
            self._keys.find,
            self._clock,
            authorize=gate,
            throttle=self._throttle,
            failed_logins=self._failed_logins,
            until_hosts_reported=self._first_reports.wait,
        )

    def _record_of(self, call: CallRecord | OperatorCall) -> AuditEvent:
        region = self.settings.region
        return call.drawn(region) if isinstance(call, OperatorCall) else record.draw(call, region)

    def _note_call(self, call: CallRecord) -> Awaitable[None]:
        self._authorizer.note(call)
        if self._exposition is not None:
            self._exposition.note(call)
        of_owner = call.of_owner()
        if of_owner is not None:
            self._trail.note(of_owner)
        if call.caller is not None:
            self._uses.note(call.caller, call.service, call.time)
            self._usage.note(call.caller.account_id, call.service, call.operation)
        return self._trail.keep(call, lasting=call.has_changed)

    async def _take_room(self) -> None:
        """Reserve disk space again where it was released and there is enough, and log when that changes."""
        was_full = self._was_full
        await asyncio.to_thread(self._room.take)
        self._was_full = self._room.is_full
        if self._was_full != was_full:
            _log.warning(
                "disk_full" if self._was_full else "disk_has_room", extra={"folder": str(self.settings.state_dir)}
            )

    def _health(self) -> str:
        full = "the disk is full: nothing can be changed but by deletions" if self._room.is_full else ""
        return self._sharing.trouble or full or "ok"

    def _write_host_networks(self, tx: Transaction) -> None:
        """Write the desired networks of hosts from the present settings."""
        host_addresses.take_missing(tx, self.cloud, self._clock())
        host_networks.refresh_all(tx, self.cloud)
        vpc_endpoint_services.keep(tx, self.cloud, self._clock())

    async def _take_over_files(self) -> None:
        """Remove files left by interrupted uploads."""
        folder = self.settings.incoming_folder
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        known = await self.database.run(imported_images.coming, writes=False)
        known |= await self.database.run(image_tasks.active, writes=False)
        for path in folder.iterdir():
            if path.name not in known:
                await asyncio.to_thread(shutil.rmtree, path)

    async def _clean_up(self) -> None:
        look = self._clock_steps.look()
        self._clock_steps.take(look)
        ahead = self._clock_steps.forward_within(timedelta(seconds=self.settings.launch_deadline_seconds))
        while await self._sharing.led.run(lambda tx: clean_up(tx, self.settings, look.now, ahead)):
            pass  # others' transactions come between
        while await self._sharing.led.run(usage_days.add_lines):
            pass  # as above
        while await self._sharing.led.run(lambda tx: usage_days.add_lines_by_tags(tx, look.now)):
            pass  # as above

    async def _collect_blocks(self) -> None:
        """Remove blocks that nothing refers to; if there are very many, the rest in the next run."""
        for _ in range(_COLLECTIONS_AT_ONCE):
            with collecting(self.settings.state_dir) as allowed:  # not while a backup copies them
                if not allowed or not await self._blocks.collect():
                    return

    async def _run_lifecycle(self) -> None:
        """Run the schedules of lifecycle policies that are due, one per transaction."""
        while await self._sharing.led.run(lambda tx: lifecycle.run_one(tx, self._clock())):
            pass

    def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        """Repeat a task at an interval; a failure is logged and the task is tried again in the next run."""

        async def loop() -> None:
            while True:
                await asyncio.sleep(seconds)
                try:
                    await work()
                except Exception:  # the loop must survive a database that is unavailable for a while
                    _log.exception("background_work_failed", extra={"work": getattr(work, "__name__", "")})

        self._tasks.add(asyncio.create_task(loop()))
