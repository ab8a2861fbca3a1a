"""Network Insights: paths (questions) and analyses (answers, as of the time of the request).

See https://docs.aws.amazon.com/vpc/latest/reachability/what-is-reachability-analyzer.html.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import func, select

from stead_controller.catalog import ids
from stead_controller.db.tables import NetworkInsightsAnalysis, NetworkInsightsPath
from stead_controller.errors import InUse, InvalidCombination, InvalidParameter, LimitExceeded, SteadError
from stead_controller.request import client_tokens, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Condition, Selection, flag, text
from stead_controller.request.transaction import Transaction
from stead_controller.request.written_addresses import canonical_address
from stead_controller.resources import tags
from stead_controller.resources.network import network_questions
from stead_controller.resources.network.network_facts import RowFacts
from stead_controller.resources.network.reachability.packet import ALL_PORTS, EPHEMERAL, Range
from stead_controller.resources.network.reachability.verdict import Verdict

# EC2's default quotas (https://docs.aws.amazon.com/vpc/latest/reachability/reachability-analyzer-limits.html)
PATHS_PER_ACCOUNT: Final = 100
ANALYSES_PER_ACCOUNT: Final = 1000

_PATH: Final = "network-insights-path"
_ANALYSIS: Final = "network-insights-analysis"
_PROTOCOLS: Final = ("tcp", "udp")

_row: Final = NetworkInsightsPath
PATH_FILTERS: Final[dict[str, Condition]] = {
    "destination": text(_row.destination),
    "filter-at-destination.destination-address": text(_row.at_destination_destination_address),
    "filter-at-destination.destination-port-range": text(_row.at_destination_destination_ports),
    "filter-at-destination.source-address": text(_row.at_destination_source_address),
    "filter-at-destination.source-port-range": text(_row.at_destination_source_ports),
    "filter-at-source.destination-address": text(_row.at_source_destination_address),
    "filter-at-source.destination-port-range": text(_row.at_source_destination_ports),
    "filter-at-source.source-address": text(_row.at_source_source_address),
    "filter-at-source.source-port-range": text(_row.at_source_source_ports),
    "protocol": text(_row.protocol),
    "source": text(_row.source),
}
ANALYSIS_FILTERS: Final[dict[str, Condition]] = {
    "path-found": flag(NetworkInsightsAnalysis.path_found),
    "status": text(NetworkInsightsAnalysis.status),
}


@dataclass(frozen=True, slots=True)
class PacketFilter:
    """The required addresses and ports of a packet at one end of a path; port ranges are (first, last)."""

    source_address: str | None = None
    source_ports: Range | None = None
    destination_address: str | None = None
    destination_ports: Range | None = None


@dataclass(frozen=True, slots=True)
class NewPath:
    """CreateNetworkInsightsPath, parsed; source and destination are ids or Amazon Resource Names."""

    source: str
    destination: str | None
    protocol: str
    source_ip: str | None = None
    destination_ip: str | None = None
    destination_port: int | None = None
    at_source: PacketFilter = PacketFilter()
    at_destination: PacketFilter = PacketFilter()
    tags: Mapping[str, str] = field(default_factory=dict)


def create_path(tx: Transaction, caller: Caller, asked: NewPath, *, repeatable: Repeatable, now: datetime) -> str:
    """Store a path and return its id.

    Raises MalformedId, NotFound, Unsupported, InvalidParameter, InvalidCombination, LimitExceeded, IdempotencyMismatch.
    """
    known = client_tokens.replay_request(tx, caller, repeatable, now)
    if known is not None:
        return known
    row = _checked(asked)
    facts = RowFacts(tx, caller.account_id)
    for named in (row.source, row.destination):
        if named is not None:
            network_questions.find_place(tx, facts, caller.account_id, named)
    if row.destination is None and (row.destination_ip or row.at_source_destination_address) is None:
        raise InvalidCombination("Give destination, destinationIp or filterAtSource.destinationAddress")
    _check_quota(tx, NetworkInsightsPath, caller, PATHS_PER_ACCOUNT, "NetworkInsightsPathLimitExceeded")
    row.id, row.account_id, row.created = ids.new_id(_PATH), caller.account_id, now
    tx.session.add(row)
    tx.session.flush()
    tags.create_on_launch(tx, caller, [(_PATH, row.id)], {_PATH: asked.tags})
    client_tokens.remember_request(tx, caller, repeatable, row.id, now)
    return row.id


def remove_path(tx: Transaction, caller: Caller, path_id: str) -> None:
    """Delete a path without analyses; raises MalformedId, NotFound, InUse."""
    row = lookup.find(tx, caller, _PATH, NetworkInsightsPath, path_id)
    answered = select(NetworkInsightsAnalysis.id).where(NetworkInsightsAnalysis.path_id == row.id).limit(1)
    if tx.session.scalar(answered) is not None:
        raise InUse(f"The path {row.id} has analyses; delete them first.", code="AnalysisExistsForNetworkInsightsPath")
    tx.session.delete(row)
    tx.session.flush()
    tags.remove_all(tx, [row.id])


@dataclass(frozen=True, slots=True)
class DescribedPath:
    """A path with the packet filters at its ends, and its tags; Amazon Resource Names of it and its ends."""

    path: NetworkInsightsPath
    arn: str
    source_arn: str
    destination_arn: str | None
    at_source: PacketFilter
    at_destination: PacketFilter
    tags: Sequence[tuple[str, str]]


def describe_paths(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[DescribedPath]:
    """Find the caller's paths, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, _PATH, NetworkInsightsPath, asked, conditions=PATH_FILTERS)
    tagged = tags.pairs_of(tx, caller.account_id, [row.id for row in found])
    named = partial(arn, cloud, caller.account_id)
    return [
        DescribedPath(
            row,
            named(row.id),
            named(row.source),
            None if row.destination is None else named(row.destination),
            PacketFilter(
                row.at_source_source_address,
                _ports(row.at_source_source_ports),
                row.at_source_destination_address,
                _ports(row.at_source_destination_ports),
            ),
            PacketFilter(
                row.at_destination_source_address,
                _ports(row.at_destination_source_ports),
                row.at_destination_destination_address,
                _ports(row.at_destination_destination_ports),
            ),
            tagged.get(row.id, ()),
        )
        for row in found
    ]


@dataclass(frozen=True, slots=True)
class NewAnalysis:
    """StartNetworkInsightsAnalysis, parsed."""

    path_id: str
    tags: Mapping[str, str] = field(default_factory=dict)


def start(
    tx: Transaction,
    caller: Caller,
    asked: NewAnalysis,
    *,
    written: Callable[[Verdict], str],
    repeatable: Repeatable,
    now: datetime,
) -> str:
    """Analyse a path, store the analysis and return its id; its state is `failed` if the path is no longer valid.

    `written` converts a result to the text that is stored in the row's `result` and read to show analyses.

    Raises MalformedId, NotFound, LimitExceeded, IdempotencyMismatch.
    """
    known = client_tokens.replay_request(tx, caller, repeatable, now)
    if known is not None:
        return known
    path = lookup.find(tx, caller, _PATH, NetworkInsightsPath, asked.path_id)
    _check_quota(tx, NetworkInsightsAnalysis, caller, ANALYSES_PER_ACCOUNT, "NetworkInsightsAnalysisLimitExceeded")
    row = NetworkInsightsAnalysis(
        id=ids.new_id(_ANALYSIS), account_id=caller.account_id, path_id=path.id, started=now, status="succeeded"
    )
    try:
        verdict = network_questions.answer(tx, _question(caller, path))
    except SteadError as error:
        row.status, row.status_message = "failed", error.message
    else:
        row.path_found = verdict.reachable
        row.status_message = " ".join(reason.sentence for reason in verdict.reasons)[:2000]
        row.result = written(verdict)
    tx.session.add(row)
    tx.session.flush()
    tags.create_on_launch(tx, caller, [(_ANALYSIS, row.id)], {_ANALYSIS: asked.tags})
    client_tokens.remember_request(tx, caller, repeatable, row.id, now)
    return row.id


def remove_analysis(tx: Transaction, caller: Caller, analysis_id: str) -> None:
    """Delete an analysis; raises MalformedId, NotFound."""
    row = lookup.find(tx, caller, _ANALYSIS, NetworkInsightsAnalysis, analysis_id)
    tx.session.delete(row)
    tx.session.flush()
    tags.remove_all(tx, [row.id])


@dataclass(frozen=True, slots=True)
class DescribedAnalysis:
    """An analysis with its tags."""

    analysis: NetworkInsightsAnalysis
    arn: str
    tags: Sequence[tuple[str, str]]


def describe_analyses(
    tx: Transaction,
    caller: Caller,
    cloud: Cloud,
    asked: Selection,
    *,
    path_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[DescribedAnalysis]:
    """Find the caller's analyses, sorted by id; raises MalformedId, NotFound."""
    row = NetworkInsightsAnalysis
    where = [row.account_id == caller.account_id]
    if path_id is not None:
        where.append(row.path_id == lookup.find(tx, caller, _PATH, NetworkInsightsPath, path_id).id)
    if since is not None:
        where.append(row.started >= since)
    if until is not None:
        where.append(row.started <= until)
    lookup.require(tx, _ANALYSIS, row.id, asked.ids, row.account_id == caller.account_id)
    found_ids = lookup.select_ids(tx, caller, row.id, asked, *where, conditions=ANALYSIS_FILTERS)
    tagged = tags.pairs_of(tx, caller.account_id, found_ids)
    return [
        DescribedAnalysis(one, arn(cloud, caller.account_id, one.id), tagged.get(one.id, ()))
        for one in lookup.rows(tx, NetworkInsightsAnalysis, found_ids)
    ]


def arn(cloud: Cloud, account_id: str, resource_id: str) -> str:
    """Return the Amazon Resource Name of one of the account's resources on a path."""
    kind = ids.resource_type_of(resource_id)
    return f"arn:{cloud.partition}:ec2:{cloud.region}:{account_id}:{kind}/{resource_id}"


def _question(caller: Caller, path: NetworkInsightsPath) -> network_questions.Asked:
    """Convert a path to the question for the analysis."""
    ports = _ports(path.at_source_destination_ports) or _ports(path.at_destination_destination_ports)
    if path.destination_port is not None:
        ports = (path.destination_port, path.destination_port)
    return network_questions.Asked(
        account_id=caller.account_id,
        source=path.source,
        destination=path.destination,
        protocol=path.protocol,
        ports=ports or ALL_PORTS,
        source_ports=_ports(path.at_source_source_ports) or EPHEMERAL,
        source_address=path.source_ip or path.at_source_source_address,
        destination_address=(
            path.destination_ip or path.at_source_destination_address or path.at_destination_destination_address
        ),
    )


def _checked(asked: NewPath) -> NetworkInsightsPath:
    """Check a path's parameters, and return a row without id."""
    if asked.protocol not in _PROTOCOLS:
        raise InvalidParameter(f"Value ({asked.protocol}) for parameter protocol is invalid: tcp or udp.")
    if asked.at_source != PacketFilter() and (asked.source_ip is not None or asked.destination_port is not None):
        raise InvalidCombination("The parameter filterAtSource cannot be used with sourceIp or destinationPort")
    if asked.at_destination != PacketFilter() and asked.destination_ip is not None:
        raise InvalidCombination("The parameter filterAtDestination cannot be used with destinationIp")
    port = asked.destination_port
    if port is not None and not ALL_PORTS[0] <= port <= ALL_PORTS[1]:
        raise InvalidParameter(f"Value ({port}) for parameter destinationPort is invalid: 0 to 65535.")
    row = NetworkInsightsPath(
        source=_id_of(asked.source),
        destination=_id_of(asked.destination) if asked.destination else None,
        source_ip=_address(asked.source_ip),
        destination_ip=_address(asked.destination_ip),
        protocol=asked.protocol,
        destination_port=port,
    )
    for side, chosen in (("at_source", asked.at_source), ("at_destination", asked.at_destination)):
        setattr(row, f"{side}_source_address", _address(chosen.source_address))
        setattr(row, f"{side}_source_ports", _ports_text(chosen.source_ports))
        setattr(row, f"{side}_destination_address", _address(chosen.destination_address))
        setattr(row, f"{side}_destination_ports", _ports_text(chosen.destination_ports))
    return row


def _id_of(named: str) -> str:
    """Return the id at the end of an Amazon Resource Name; an id stays as it is."""
    return named.rsplit("/", 1)[-1] if named.startswith("arn:") else named


def _address(given: str | None) -> str | None:
    return None if given is None else canonical_address(given)


def _ports_text(ports: Range | None) -> str | None:
    if ports is None:
        return None
    if not ALL_PORTS[0] <= ports[0] <= ports[1] <= ALL_PORTS[1]:
        raise InvalidParameter(f"The range of ports {ports[0]}-{ports[1]} is invalid.")
    return f"{ports[0]}-{ports[1]}"


def _ports(written: str | None) -> Range | None:
    if written is None:
        return None
    first, last = written.split("-")
    return int(first), int(last)


def _check_quota(tx: Transaction, table: Any, caller: Caller, most: int, code: str) -> None:
    if tx.session.scalars(select(func.count()).where(table.account_id == caller.account_id)).one() >= most:
        raise LimitExceeded(f"You have reached the limit of {most}.", code=code)
