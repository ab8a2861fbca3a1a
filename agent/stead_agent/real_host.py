"""A real host's agent: libvirt, the kernel's network and local disks put together."""

import asyncio
import concurrent.futures
import contextlib
import errno
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import libvirt

from stead_agent import facts, heap, kvm_proof
from stead_agent.agent import Agent
from stead_agent.controllers import Controllers
from stead_agent.credits.meter import Meter
from stead_agent.desired import SqliteStore
from stead_agent.dhcp.dnsmasq import Dnsmasq
from stead_agent.disks.attachment_credentials import AttachmentCredentials
from stead_agent.disks.bases.base_servers import BaseServers
from stead_agent.disks.bases.local_bases import LocalBases
from stead_agent.disks.block_store import BlockStore
from stead_agent.disks.exports.storage_daemons import StorageDaemons
from stead_agent.disks.snapshots.local_snapshots import LocalSnapshots
from stead_agent.disks.volumes.local_files import LocalStore
from stead_agent.disks.volumes.open_pools import open_pools
from stead_agent.disks.volumes.pooled_volumes import PooledVolumes
from stead_agent.endpoints.relay_process import RelayProcess
from stead_agent.enrol import forget_former, former_identity
from stead_agent.firewall.interface import LinkPrefixes
from stead_agent.firewall.kernel import KernelFirewall, shut
from stead_agent.flow_logs.recorder import KernelFlowLogs
from stead_agent.link import Dialling
from stead_agent.logs import Log
from stead_agent.machines import architectures
from stead_agent.machines.backups import LibvirtBackups
from stead_agent.machines.boot_clock import Patience
from stead_agent.machines.firmware_files import FirmwareFiles
from stead_agent.machines.libvirt_machines import LibvirtMachines
from stead_agent.metadata.interface import MetadataError
from stead_agent.metadata.server_process import MetadataProcess
from stead_agent.network import folder_owner
from stead_agent.network import interface as network
from stead_agent.network.desired_objects import INNER_ADDRESSES
from stead_agent.network.kernel import KernelNetwork
from stead_agent.network.namespaces import Namespaces
from stead_agent.pci.assignments import Assignments
from stead_agent.programs import daemon_logs, libvirtd
from stead_agent.reachability.probes import NeighbourProbes
from stead_agent.reconcile.loop import THREADS
from stead_agent.reconcile.prepare import Habits
from stead_agent.reconcile.subsystems import Subsystems
from stead_agent.reconcile.translate_vpc import Reachable, VpcSettings, host_firewall
from stead_agent.settings import Settings
from stead_agent.traffic.kept import KeptTraffic
from stead_agent.whole_cores import Division, divide
from stead_proto import alone, resident, traces
from stead_proto.tls import Identity, NoIdentityError

_log = Log(__name__)

_QUESTION_THREADS: Final = 4
_TRACES_SECONDS: Final = 1.0
_PASSABLE: Final = 0o711
_NAME_OF_THE_ONE: Final = "\0stead-agent"
_RESOLV_CONF: Final = Path("/etc/resolv.conf")


@dataclass(frozen=True, slots=True)
class _Assembled:
    """The subsystems of this machine, and what was detected while they were created."""

    parts: Subsystems
    firewall: KernelFirewall
    flow_logs: KernelFlowLogs
    metadata: MetadataProcess
    volumes: PooledVolumes
    verdict: kvm_proof.Verdict
    division: Division
    libvirt_uri: str
    address: str  # at which other hosts reach this one; empty: none
    controllers: Controllers


class AgentRunsError(Exception):
    """Another agent uses this network namespace or this folder of VPCs: two would undo each other's work."""


async def run(settings: Settings, version: str) -> None:
    """Run the agent of this machine until cancelled; guests run on. Raises AgentRunsError."""
    heap.limit_size()
    with _alone(settings):
        await _run(settings, version)


async def _run(settings: Settings, version: str) -> None:
    host = _assemble(settings)
    verdict = host.verdict
    address = host.address
    versions, emulates = _of_libvirt(host.libvirt_uri)
    view = facts.RealHost(
        host.parts.volumes, verdict, versions, address, settings, division=host.division, emulates=emulates
    )
    identity: partial[Identity] = partial(Identity.load, settings.state_dir)
    habits = Habits(
        uplink=settings.uplink,
        underlay_address=address,
        reachable=Reachable(frozenset(settings.host_ports), settings.guest_address),
        vpc=VpcSettings(mtu=settings.mtu, upstreams=settings.dns_upstreams or _resolvers(settings.uplink)),
        removal_grace_seconds=settings.removal_grace_seconds,
    )
    _log.info("agent_starts", version=version, virtualization=verdict.virtualization, reason=verdict.reason)
    try:
        host.metadata.start()
    except MetadataError as error:
        _log.warning("metadata_not_started", reason=str(error))  # tried again when it is first needed
    _start_traces(settings)
    agent = Agent(
        host.parts,
        SqliteStore(settings.desired_file),
        view,
        Dialling(host.controllers, identity, version, settings.state_dir),
        habits=habits,
        threads=concurrent.futures.ThreadPoolExecutor(THREADS, "work"),
        question_threads=concurrent.futures.ThreadPoolExecutor(_QUESTION_THREADS, "question"),
        forget_former=partial(forget_former, settings.state_dir),
    )
    chores = [asyncio.create_task(daemon_logs.run(settings)), asyncio.create_task(resident.run())]
    try:
        await _run_shown(agent, settings)
    finally:
        for chore in chores:
            chore.cancel()
        traces.stop(_TRACES_SECONDS)
        host.flow_logs.close()
        host.parts.reachability.close()
        host.parts.credits.close()
        host.parts.endpoints.close()
        host.parts.exports.close()


def _start_traces(settings: Settings) -> None:
    if not settings.traces_endpoint:
        return
    try:
        traces.start(settings.traces, "stead-agent", socket.gethostname())
    except traces.TracesError as error:  # guests matter more than traces
        _log.warning("traces_not_sent", reason=str(error))


async def _run_shown(agent: Agent, settings: Settings) -> None:
    """Run an agent, with its page for Prometheus where that has a port."""
    if not settings.prometheus_port:
        await agent.run()
        return
    from stead_agent.exposition import Exposition  # noqa: PLC0415 - its library is loaded only where it is wanted

    address = settings.prometheus_listen, settings.prometheus_port
    page = Exposition(agent.reconciler, agent.measurements, agent.link.connected.is_set, address)
    try:
        await page.start()
    except OSError as error:  # such as of a port that is taken: guests matter more than a page
        _log.warning("prometheus_page_not_served", reason=str(error))
    try:
        await agent.run()
    finally:
        await page.stop()


def purge(settings: Settings) -> None:
    """Clean this host: remove every guest, network and disk of this agent; bases go with the state directory.

    A libvirtd that was started by it is stopped. Raises AgentRunsError while an agent runs.
    """
    with _alone(settings):
        _purge(settings)
    folder_owner.give_up(settings.netns_dir)


def _purge(settings: Settings) -> None:
    host = _assemble(settings)
    parts = host.parts
    for machine_id in sorted(parts.machines.present()):
        parts.machines.remove(machine_id)
    for machine_id in sorted(parts.pci.holders()):
        parts.pci.release(machine_id)
    for machine_id in parts.credits.present():
        parts.credits.forget(machine_id)
    for volume_id in parts.exports.present():
        parts.exports.end(volume_id)
    parts.exports.close()
    nothing = network.HostNetwork(public_pools=(), uplink="none")
    paths = parts.network.apply_host(nothing)
    parts.firewall.apply_host(host_firewall(None, nothing, paths))
    host.metadata.end()
    for vpc_id in sorted(parts.network.present() | parts.firewall.present() | parts.dhcp.present()):
        parts.dhcp.remove(vpc_id)
        parts.firewall.remove(vpc_id)
        parts.network.remove(vpc_id)
    host.firewall.remove_host()
    parts.snapshots.close()
    for base_id in sorted(parts.bases.present()):
        parts.bases.remove(base_id)
    host.volumes.give_up()
    parts.machines.close()
    libvirtd.stop(settings.state_dir)
    shutil.rmtree(settings.run_dir, ignore_errors=True)


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Make sure that only one agent runs.

    One per network namespace: by the name of an abstract socket, freed when the process ends (unix(7)). One per folder
    of VPCs, which several network namespaces may share: by the lock file beside it. And one per state directory: by
    its lock, `stead` finds the agent too.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as name:
        try:
            name.bind(_NAME_OF_THE_ONE)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise AgentRunsError("another Stead agent runs in this network namespace") from error
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(folder_owner.owned(settings.netns_dir, str(settings.state_dir.resolve())))
                settings.state_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
                alone.take(settings.state_dir / alone.FILE_NAME)
            except (folder_owner.FolderTakenError, alone.TakenError) as error:
                raise AgentRunsError(str(error)) from error
            yield


def _assemble(settings: Settings) -> _Assembled:
    for folder in (settings.state_dir, settings.run_dir):
        _make_passable(folder)
    division = divide(settings.whole_cores)
    daemon = libvirtd.ensure_running(settings.libvirt_uri, settings.state_dir)
    verdict = kvm_proof.prove(settings.proof_image, settings.state_dir)
    store = LocalStore(settings.state_dir / "disks")
    identity: partial[Identity] = partial(Identity.load, settings.state_dir)
    controllers = Controllers(settings.controllers, settings.state_dir / "controllers")
    machines = LibvirtMachines(
        daemon.uri,
        settings.state_dir,
        owner=str(settings.state_dir),
        virtualization=verdict.virtualization,
        shared_threads=division.limit,
        revive=partial(libvirtd.ensure_running, settings.libvirt_uri, settings.state_dir),
        patience=Patience(stop=int(settings.stop_grace_seconds)),
        credentials=AttachmentCredentials(controllers, identity),
    )
    with contextlib.suppress(NoIdentityError):  # what was enrolled never is cleaned up
        machines.direct.begin_with(identity().authorities)
    address = settings.underlay_address or _own_address()
    block_store = BlockStore(controllers, identity)
    bases = LocalBases(
        store.root,
        block_store,
        servers=lambda folder: BaseServers(folder, settings.state_dir, controllers),
    )
    backups = LibvirtBackups(machines, settings.state_dir / "backups")
    namespaces = Namespaces(settings.netns_dir, shut=shut)
    firewall = KernelFirewall(namespaces, _links())
    flow_logs = KernelFlowLogs(namespaces, settings.state_dir / "flow-logs")
    metadata = MetadataProcess(settings.run_dir / "metadata", settings.state_dir)
    volumes = PooledVolumes(store, open_pools(store, settings.pools, _host_id(settings)), bases.source)
    kernel_network = KernelNetwork(namespaces)
    parts = Subsystems(
        network=kernel_network,
        firewall=firewall,
        flow_logs=flow_logs,
        dhcp=Dnsmasq(settings.run_dir / "dhcp"),
        metadata=metadata,
        endpoints=RelayProcess(settings.run_dir / "endpoints", settings.state_dir, controllers),
        bases=bases,
        volumes=volumes,
        exports=StorageDaemons(
            settings.run_dir / "exports", address, identity, partial(former_identity, settings.state_dir)
        ),
        snapshots=LocalSnapshots(settings.state_dir, settings.run_dir, block_store, backups),
        machines=machines,
        firmware=FirmwareFiles(settings.state_dir),
        reachability=NeighbourProbes(namespaces),
        credits=Meter(machines.processors, settings.state_dir / "credits"),
        pci=Assignments(settings.devices, settings.state_dir / "devices"),
        counters=machines.counters,
        traffic=KeptTraffic(settings.state_dir / "traffic.json", kernel_network.traffic),
    )
    return _Assembled(
        parts, firewall, flow_logs, metadata, volumes, verdict, division, daemon.uri, address, controllers
    )


def _host_id(settings: Settings) -> str:
    """Return the host id that the controller assigned; empty before enrolment."""
    try:
        return Identity.load(settings.state_dir).peer.name
    except NoIdentityError:
        return ""


def _make_passable(folder: Path) -> None:
    """Let the processes of guests and dnsmasq traverse the folder to their files: each secret in it has mode 0600."""
    folder.mkdir(mode=_PASSABLE, parents=True, exist_ok=True)
    folder.chmod(_PASSABLE)


def _links() -> LinkPrefixes:
    return LinkPrefixes(
        bridge=network.BRIDGE_PREFIX,
        gateway=network.GATEWAY_PREFIX,
        tap=network.TAP_PREFIX,
        internet=network.INTERNET_PREFIX,
        subnet=network.SUBNET_PREFIX,
        internet_link=network.INTERNET_LINK,
        inner_addresses=str(INNER_ADDRESSES),
    )


def _of_libvirt(uri: str) -> tuple[tuple[str, str], tuple[str, ...]]:
    """The versions of libvirt and QEMU, and the architectures that are emulated, as libvirt reports them."""
    connection = libvirt.open(uri)
    try:
        versions = _dotted(connection.getLibVersion()), _dotted(connection.getVersion())
        return versions, architectures.emulated(connection)
    finally:
        connection.close()


def _dotted(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def _own_address() -> str:
    """The address at which this host would be reached; no packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def _resolvers(uplink: str) -> tuple[str, ...]:
    """The host's own resolvers for external names; none when nothing may leave the host, or none is reachable."""
    if uplink == "none" or not _RESOLV_CONF.exists():
        return ()
    lines = [line.split() for line in _RESOLV_CONF.read_text().splitlines()]
    return tuple(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")
