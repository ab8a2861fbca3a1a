"""Add up the kernel's counts until an interval ends: pure, and bounded."""

from dataclasses import dataclass, field
from typing import Final

from stead_agent.flow_logs.interface import FlowLog, Interface, VpcFlowLogs
from stead_agent.flow_logs.records import Count, Flow, record, without_flows

# Per interface and interval: more are not written, and the record is SKIPDATA.
MOST_FLOWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Counted:
    """A tracked flow: who began it, who really replied, and the traffic in each direction since the last read."""

    protocol: int
    asker: str
    answerer: str
    asker_port: int
    answerer_port: int
    forth: tuple[int, int]  # packets, bytes
    back: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A packet that was rejected at its sender's or its receiver's side."""

    protocol: int
    source: str
    destination: str
    source_port: int
    destination_port: int
    length: int
    mac: str  # of the sender, where it is a guest
    is_egress: bool  # whether the sender's side rejected it


@dataclass(slots=True)
class _Window:
    """One log's interval that has not ended."""

    start: int
    flows: dict[str, dict[Flow, Count]] = field(default_factory=dict)  # by interface
    too_many: set[str] = field(default_factory=set)


class Tally:
    """The open intervals of one VPC's logs."""

    def __init__(self, desired: VpcFlowLogs, now: int) -> None:
        self.desired = desired
        self._windows = {log.id: _Window(now) for log in desired.logs}
        self._by_id = {it.id: it for it in desired.interfaces}
        self._by_address = {address: it for it in desired.interfaces for address in it.addresses}
        self._by_mac = {it.mac: it for it in desired.interfaces}

    def counted(self, seen: Counted, now: int) -> None:
        """Add what a tracked flow carried: for each of its ends that is logged here, both directions."""
        for address in {seen.asker, seen.answerer}:
            interface = self._by_address.get(address)
            if interface is None:
                continue
            ways = (
                (seen.asker, seen.answerer, seen.asker_port, seen.answerer_port, seen.forth),
                (seen.answerer, seen.asker, seen.answerer_port, seen.asker_port, seen.back),
            )
            for source, destination, port, other_port, (packets, size) in ways:
                if packets:
                    self._add(
                        Flow(
                            interface.id,
                            source,
                            destination,
                            port,
                            other_port,
                            seen.protocol,
                            accepted=True,
                            is_egress=source == address,
                        ),
                        packets,
                        size,
                        now,
                    )

    def rejected(self, seen: Rejected, now: int) -> None:
        """Add a packet that the sender's side rejected, or that it accepted and the receiver's side rejected."""
        sender = self._by_mac.get(seen.mac) or self._by_address.get(seen.source)
        receiver = None if seen.is_egress else self._by_address.get(seen.destination)
        ends = (seen.source, seen.destination, seen.source_port, seen.destination_port, seen.protocol)
        if sender is not None:
            self._add(Flow(sender.id, *ends, accepted=not seen.is_egress, is_egress=True), 1, seen.length, now)
        if receiver is not None:
            self._add(Flow(receiver.id, *ends, accepted=False, is_egress=False), 1, seen.length, now)

    def lost(self) -> None:
        """Note that the kernel's events were incomplete."""
        for log in self.desired.logs:
            self._windows[log.id].too_many |= log.interface_ids

    def _add(self, flow: Flow, packets: int, size: int, now: int) -> None:
        for log in self.desired.logs:
            if flow.interface_id not in log.interface_ids or not (log.accepted if flow.accepted else log.rejected):
                continue
            window = self._windows[log.id]
            flows = window.flows.setdefault(flow.interface_id, {})
            count = flows.get(flow)
            if count is not None:
                count.packets += packets
                count.bytes += size
                count.end = now
            elif len(flows) < MOST_FLOWS:
                flows[flow] = Count(packets, size, max(window.start, now - log.aggregation_seconds), now)
            else:
                window.too_many.add(flow.interface_id)

    def due(self, now: int) -> list[FlowLog]:
        """List the logs whose intervals have ended."""
        return [log for log in self.desired.logs if now - self._windows[log.id].start >= log.aggregation_seconds]

    def ended(self, log: FlowLog, now: int) -> list[tuple[Interface, list[str]]]:
        """End the interval of a log: return each interface's records, and begin the next interval."""
        window, self._windows[log.id] = self._windows[log.id], _Window(now)
        vpc_id, found = self.desired.vpc_id, []
        for interface_id in sorted(log.interface_ids & self._by_id.keys()):
            interface = self._by_id[interface_id]
            flows = window.flows.get(interface_id, {})
            lines = [record(vpc_id, log, interface, flow, count) for flow, count in flows.items()]
            if interface_id in window.too_many:
                lines.append(without_flows(vpc_id, log, interface, (window.start, now), "SKIPDATA"))
            elif not lines:
                lines.append(without_flows(vpc_id, log, interface, (window.start, now), "NODATA"))
            found.append((interface, lines))
        return found
