"""What is measured of NAT gateways each minute."""

from stead_agent.network.interface import GatewayCounters
from stead_agent.reconcile.gateway_measuring import GatewayMeasuring, gateways_of
from stead_agent.wanted import Change, Wanted
from stead_proto.v1 import desired_pb2
from stead_proto.v1 import host_pb2 as pb
from tests.support import desired_states as make

START = 1_795_893_600_000
MINUTE = 60_000
ONE, TWO = "nat-1", "nat-2"


def noted(measuring, readings, wanted=(ONE, TWO), start=START):
    return {
        each.id: (each.at, {pb.Metric.Name(m)[7:]: v for m, v in zip(each.metrics, each.values, strict=True)})
        for each in measuring.note(wanted, readings, start)
    }


def test_what_passed_between_two_readings():
    measuring = GatewayMeasuring()
    first = GatewayCounters(7, *range(10, 22))
    assert noted(measuring, {ONE: first}) == {}
    second = GatewayCounters(3, *(10 + number * 2 for number in range(12)))
    at, values = noted(measuring, {ONE: second}, start=START + MINUTE)[ONE]
    assert at == START + MINUTE
    assert values == {
        "GATEWAY_FLOWS": 3,
        "FROM_SOURCE_BYTES": 0,
        "FROM_SOURCE_PACKETS": 1,
        "TO_DESTINATION_BYTES": 2,
        "TO_DESTINATION_PACKETS": 3,
        "FROM_DESTINATION_BYTES": 4,
        "FROM_DESTINATION_PACKETS": 5,
        "TO_SOURCE_BYTES": 6,
        "TO_SOURCE_PACKETS": 7,
        "FLOWS_ATTEMPTED": 8,
        "FLOWS_ESTABLISHED": 9,
        "PACKETS_DROPPED": 10,
        "FLOWS_WITHOUT_PORT": 11,
    }


def test_a_new_gateway_counts_from_zero_and_one_that_could_not_be_read_from_its_last_reading():
    measuring = GatewayMeasuring()
    noted(measuring, {ONE: GatewayCounters(attempts=5)})
    assert noted(measuring, {TWO: GatewayCounters(attempts=4)})[TWO][1]["FLOWS_ATTEMPTED"] == 4
    assert noted(measuring, {ONE: GatewayCounters(attempts=9)})[ONE][1]["FLOWS_ATTEMPTED"] == 4
    # What is no longer wanted is forgotten: one of this id would be another.
    noted(measuring, {}, wanted=(TWO,))
    assert noted(measuring, {ONE: GatewayCounters(attempts=9)})[ONE][1]["FLOWS_ATTEMPTED"] == 9


def test_counters_that_began_again_make_no_spike():
    measuring = GatewayMeasuring()
    noted(measuring, {ONE: GatewayCounters(attempts=50, from_source_packets=60, without_port=7)})
    # The rules were replaced: their counters are new, the namespace's own goes on.
    _, values = noted(measuring, {ONE: GatewayCounters(attempts=55, from_source_packets=6, without_port=9)})[ONE]
    assert (values["FLOWS_ATTEMPTED"], values["FROM_SOURCE_PACKETS"], values["FLOWS_WITHOUT_PORT"]) == (55, 6, 2)
    # The namespace is new.
    _, values = noted(measuring, {ONE: GatewayCounters(attempts=1, without_port=1)})[ONE]
    assert (values["FLOWS_ATTEMPTED"], values["FROM_SOURCE_PACKETS"], values["FLOWS_WITHOUT_PORT"]) == (1, 0, 1)
    # Fewer flows than before are not a restart.
    _, values = noted(measuring, {ONE: GatewayCounters(flows=0, attempts=2, without_port=1)})[ONE]
    assert (values["GATEWAY_FLOWS"], values["FLOWS_ATTEMPTED"]) == (0, 1)


def test_the_gateways_of_a_host():
    wanted = Wanted()
    gateway = desired_pb2.Resource(id=ONE, nat_gateway=desired_pb2.NatGateway(vpc_id="vpc-1", interface_id="eni-1"))
    vpc = desired_pb2.Resource(id="vpc-1", vpc=desired_pb2.Vpc(vni=1))
    put = (gateway, vpc, make.host_network())
    wanted.install(Change(1, "e", full=True, put=put, buried=(), unknown=(), unclaimed=frozenset()))
    assert gateways_of(wanted) == (ONE,)
