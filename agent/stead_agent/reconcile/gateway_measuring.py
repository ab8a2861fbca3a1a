"""What is measured of NAT gateways, minute by minute (pure)."""

from collections.abc import Iterator, Mapping
from dataclasses import astuple, replace
from typing import Final

from stead_agent.network.interface import GatewayCounters
from stead_agent.wanted import Wanted
from stead_proto.v1 import desired_pb2
from stead_proto.v1 import host_pb2 as pb

_METRICS: Final[Mapping[str, "pb.Metric.ValueType"]] = {
    "from_source_bytes": pb.METRIC_FROM_SOURCE_BYTES,
    "from_source_packets": pb.METRIC_FROM_SOURCE_PACKETS,
    "to_destination_bytes": pb.METRIC_TO_DESTINATION_BYTES,
    "to_destination_packets": pb.METRIC_TO_DESTINATION_PACKETS,
    "from_destination_bytes": pb.METRIC_FROM_DESTINATION_BYTES,
    "from_destination_packets": pb.METRIC_FROM_DESTINATION_PACKETS,
    "to_source_bytes": pb.METRIC_TO_SOURCE_BYTES,
    "to_source_packets": pb.METRIC_TO_SOURCE_PACKETS,
    "attempts": pb.METRIC_FLOWS_ATTEMPTED,
    "established": pb.METRIC_FLOWS_ESTABLISHED,
    "dropped": pb.METRIC_PACKETS_DROPPED,
    "without_port": pb.METRIC_FLOWS_WITHOUT_PORT,
}


def gateways_of(wanted: Wanted) -> tuple[str, ...]:
    """Return the ids of the NAT gateways that this host is to have."""
    return tuple(key.id for key in wanted.of_kind(desired_pb2.KIND_NAT_GATEWAY))


class GatewayMeasuring:
    """Readings become what passed in each period; what was counted before the first reading counts for nothing."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._before: dict[str, GatewayCounters] | None = None

    def note(
        self, wanted: tuple[str, ...], readings: Mapping[str, GatewayCounters], start: int
    ) -> Iterator[pb.Measured]:
        """Yield what passed each gateway in the period that began at `start`, Unix milliseconds, and ends now.

        One that is new since the reading before, or whose counters have begun at zero again, counts from zero; of one
        that could not be read, the next reading tells.
        """
        before = self._before
        kept = {each: one for each, one in (before or {}).items() if each in wanted}
        self._before = kept | dict(readings)
        if before is None:
            return
        for gateway_id, now in readings.items():
            grown = _grown(before.get(gateway_id, GatewayCounters()), now)
            measured = pb.Measured(id=gateway_id, at=start, metrics=[pb.METRIC_GATEWAY_FLOWS], values=[now.flows])
            for name, metric in _METRICS.items():
                measured.metrics.append(metric)
                measured.values.append(getattr(grown, name))
            yield measured


def _grown(before: GatewayCounters, now: GatewayCounters) -> GatewayCounters:
    """Return how much each counter has grown; all of them, if one has begun at zero again, since they do so together.

    The kernel's count of flows without a port lasts longer than the others: it belongs to the namespace.
    """
    old, new = astuple(replace(before, flows=0, without_port=0)), astuple(replace(now, flows=0, without_port=0))
    restarted = any(one < other for one, other in zip(new, old, strict=True))
    grown = now if restarted else GatewayCounters(*(one - other for one, other in zip(new, old, strict=True)))
    is_same = now.without_port >= before.without_port
    return replace(grown, without_port=now.without_port - before.without_port if is_same else now.without_port)
