"""DNS by real servers: private names forward and back, others only from the upstreams that were given."""

import socket
import threading
from dataclasses import replace

import pytest

from stead_agent.dhcp import server_process
from stead_agent.dhcp.dnsmasq import Dnsmasq
from stead_agent.dhcp.interface import DnsDomain, DnsName
from tests.host.dhcp.conftest import AAAA, NO_ERROR, NO_SUCH_NAME, PTR, REFUSED, Vm, Vpc, ip, without_host
from tests.support.namespaces import inside
from tests.support.waiting import wait_for

pytestmark = pytest.mark.root
SERVER = "172.31.0.2"
FIVE = "ip-172-31-0-5.ec2.internal"


@pytest.fixture
def vm(vpc: Vpc) -> Vm:
    """A guest with the address 172.31.0.5."""
    made = vpc.vm(5)
    ip(f"-n {made.namespace} addr add 172.31.0.5/20 dev eth0", f"-n {made.namespace} route add default via 172.31.0.1")
    return made


def test_private_names_resolve_forward_and_back(dhcp: Dnsmasq, vpc: Vpc, vm: Vm) -> None:
    elsewhere = DnsName("ip-172-31-32-9.ec2.internal", "172.31.32.9")
    dhcp.apply(replace(vpc.wanted(5), names=(elsewhere,)))
    for server in (SERVER, "169.254.169.253"):
        assert vm.ask(server, FIVE) == (NO_ERROR, ["172.31.0.5/60"])
        assert vm.ask(server, "5.0.31.172.in-addr.arpa", PTR) == (NO_ERROR, [f"{FIVE}/60"])
        assert vm.ask(server, elsewhere.name) == (NO_ERROR, ["172.31.32.9/60"])
        assert vm.ask(server, "9.32.31.172.in-addr.arpa", PTR) == (NO_ERROR, [f"{elsewhere.name}/60"])


def test_domains_of_endpoints(dhcp: Dnsmasq, vpc: Vpc, vm: Vm) -> None:
    """All addresses are answered, also of names below, no IPv6 address, and after a change only what is left."""
    name = "ec2.us-east-1.amazonaws.com"
    both = tuple(DnsDomain(name, address) for address in ("172.31.0.77", "172.31.32.77"))
    dhcp.apply(replace(vpc.wanted(5), domains=both))
    for asked in (name, f"x.{name}"):
        code, answers = vm.ask(SERVER, asked)
        assert (code, sorted(each.partition("/")[0] for each in answers)) == (NO_ERROR, ["172.31.0.77", "172.31.32.77"])
    assert vm.ask(SERVER, name, AAAA) == (NO_ERROR, [])
    dhcp.apply(replace(vpc.wanted(5), domains=both[1:]))
    wait_for(lambda: len(vm.ask(SERVER, name)[1]) == 1, "one address is left")


def test_resource_names_have_the_records_that_they_are_given(dhcp: Dnsmasq, vpc: Vpc, vm: Vm) -> None:
    """Of an instance here and of one elsewhere; their addresses resolve back to the names by address, whatever is new."""
    here, there = "i-0123456789abcdef0.ec2.internal", "i-0123456789abcdef1.ec2.internal"
    main = DnsName("ip-172-31-32-9.ec2.internal", "172.31.32.9")
    ipv6 = DnsName(here, "2001:db8::5", main=False)
    ipv4 = (DnsName(here, "172.31.0.5", main=False), DnsName(there, "172.31.32.9", main=False))
    dhcp.apply(replace(vpc.wanted(5), names=(main,)))
    assert vm.ask(SERVER, here) == vm.ask(SERVER, there) == (NO_SUCH_NAME, [])
    for _ in range(2):
        dhcp.apply(replace(vpc.wanted(5), names=(*ipv4, main, ipv6)))
        wait_for(lambda: vm.ask(SERVER, here) == (NO_ERROR, ["172.31.0.5/60"]), "the local one resolves")
        wait_for(lambda: vm.ask(SERVER, there) == (NO_ERROR, ["172.31.32.9/60"]), "the other resolves")
        wait_for(lambda: vm.ask(SERVER, here, AAAA) == (NO_ERROR, ["2001:db8::5/60"]), "the IPv6 address is there")
        assert vm.ask(SERVER, there, AAAA) == (NO_ERROR, [])
        assert vm.ask(SERVER, "5.0.31.172.in-addr.arpa", PTR) == (NO_ERROR, [f"{FIVE}/60"])
        assert vm.ask(SERVER, "9.32.31.172.in-addr.arpa", PTR) == (NO_ERROR, [f"{main.name}/60"])
        dhcp.apply(replace(vpc.wanted(5), names=(main, ipv6)))
        wait_for(lambda: vm.ask(SERVER, here) == (NO_ERROR, []), "the local one has no IPv4 address any more")
        wait_for(lambda: vm.ask(SERVER, there) == (NO_SUCH_NAME, []), "the other is gone")
        assert vm.ask(SERVER, here, AAAA) == (NO_ERROR, ["2001:db8::5/60"])
        assert vm.ask(SERVER, FIVE) == (NO_ERROR, ["172.31.0.5/60"])
        assert vm.ask(SERVER, main.name) == (NO_ERROR, ["172.31.32.9/60"])


def test_a_host_name_by_dhcp_is_no_name_of_dns(dhcp: Dnsmasq, vpc: Vpc) -> None:
    (host,) = vpc.wanted(5).hosts
    wanted = replace(vpc.wanted(), hosts=(replace(host, host_name="i-0123456789abcdef0"),))
    dhcp.apply(wanted)
    guest = vpc.vm(5)
    lease = guest.lease()
    assert lease
    assert lease["hostname"] == "i-0123456789abcdef0"
    for name in ("i-0123456789abcdef0.ec2.internal", "i-0123456789abcdef0"):
        assert guest.ask(SERVER, name) == (NO_SUCH_NAME, []), name
    dhcp.apply(replace(wanted, hosts=(replace(host, host_name="i-0123456789abcdef1"),)))
    lease = guest.lease()
    assert lease
    assert lease["hostname"] == "i-0123456789abcdef1"


def test_a_vpc_without_names_resolves_none_though_guests_have_leases(dhcp: Dnsmasq, vpc: Vpc) -> None:
    dhcp.apply(vpc.wanted(5))
    guest = vpc.vm(5)
    assert guest.lease()
    assert guest.ask(SERVER, FIVE) == (NO_ERROR, ["172.31.0.5/60"])
    dhcp.apply(replace(vpc.wanted(5), gives_names=False))
    for _ in range(2):
        assert guest.ask(SERVER, FIVE) == (NO_SUCH_NAME, [])
        assert guest.ask(SERVER, "5.0.31.172.in-addr.arpa", PTR) == (NO_SUCH_NAME, [])
        lease = guest.lease()
        assert lease
        assert (lease["ip"], lease["hostname"]) == ("172.31.0.5", "ip-172-31-0-5")
    dhcp.apply(vpc.wanted(5))
    assert guest.ask(SERVER, FIVE) == (NO_ERROR, ["172.31.0.5/60"])


def test_changes_are_seen_without_restart(dhcp: Dnsmasq, vpc: Vpc, vm: Vm) -> None:
    six = "ip-172-31-0-6.ec2.internal"
    dhcp.apply(vpc.wanted(5))
    assert vm.ask(SERVER, six) == (NO_SUCH_NAME, [])
    dhcp.apply(vpc.wanted(5, 6))
    wait_for(lambda: vm.ask(SERVER, six) == (NO_ERROR, ["172.31.0.6/60"]), "the new name resolves")
    dhcp.apply(without_host(vpc.wanted(5, 6), 6))
    wait_for(lambda: vm.ask(SERVER, six) == (NO_SUCH_NAME, []), "the old name is gone")
    assert vm.ask(SERVER, "6.0.31.172.in-addr.arpa", PTR) == (NO_SUCH_NAME, [])


def test_a_vpc_may_begin_and_end_to_give_names(dhcp: Dnsmasq, vpc: Vpc, vm: Vm) -> None:
    for gives_names in (True, False, True):
        dhcp.apply(replace(vpc.wanted(5), gives_names=gives_names))
        answer = (NO_ERROR, ["172.31.0.5/60"]) if gives_names else (NO_SUCH_NAME, [])
        wait_for(lambda answer=answer: vm.ask(SERVER, FIVE) == answer, f"names resolve: {gives_names}")


def test_the_first_public_name_and_the_last_one_gone_are_no_restart(dhcp: Dnsmasq, vpc: Vpc, vm: Vm) -> None:
    """Guests' DHCP and DNS do not stop for an address that comes or goes; its domain is ours while it has names."""
    public = DnsName("ec2-198-51-100-7.compute-1.amazonaws.com", "172.31.0.5")
    other = "ec2-198-51-100-8.compute-1.amazonaws.com"
    dhcp.apply(vpc.wanted(5))
    configuration = vpc.folder / "dhcp" / f"vpc-{vpc.name}" / "dnsmasq.conf"
    servers = server_process.all_servers()[configuration]
    assert vm.ask(SERVER, other) == (REFUSED, [])
    for _ in range(2):
        dhcp.apply(replace(vpc.wanted(5), names=(public,)))
        wait_for(lambda: vm.ask(SERVER, public.name) == (NO_ERROR, ["172.31.0.5/60"]), "the name resolves")
        wait_for(lambda: vm.ask(SERVER, other) == (NO_SUCH_NAME, []), "nobody else is asked about its neighbour")
        dhcp.apply(vpc.wanted(5))
        wait_for(lambda: vm.ask(SERVER, public.name) == (REFUSED, []), "the domain is not ours any more")
    assert server_process.all_servers()[configuration] == servers
    dhcp.apply(replace(vpc.wanted(5), names=(public,)))
    again = Dnsmasq(vpc.folder / "dhcp")
    again.apply(vpc.wanted(5))
    wait_for(lambda: vm.ask(SERVER, public.name) == (REFUSED, []), "a later agent knows what there was")
    assert server_process.all_servers()[configuration] == servers


def test_a_leased_name_is_gone_with_its_host(dhcp: Dnsmasq, vpc: Vpc, vm: Vm) -> None:
    dhcp.apply(vpc.wanted(5, 6))
    assert vpc.vm(6).lease()
    dhcp.apply(vpc.wanted(5))
    wait_for(lambda: vm.ask(SERVER, "ip-172-31-0-6.ec2.internal") == (NO_SUCH_NAME, []), "the name is gone")
    assert vm.ask(SERVER, "6.0.31.172.in-addr.arpa", PTR) == (NO_SUCH_NAME, [])


def test_nothing_of_the_host_is_known(dhcp: Dnsmasq, vpc: Vpc, vm: Vm) -> None:
    dhcp.apply(vpc.wanted(5))
    for name in ("example.com", "ip6-allnodes", "dns.google.com", socket.gethostname()):
        code, answers = vm.ask(SERVER, name)
        assert answers == []
        assert code in {REFUSED, NO_SUCH_NAME}


def test_it_answers_only_where_it_should(dhcp: Dnsmasq, vpc: Vpc, vm: Vm) -> None:
    dhcp.apply(vpc.wanted(5))
    with pytest.raises(ConnectionRefusedError):
        vm.ask("169.254.169.254", FIVE)
    dhcp.apply(replace(vpc.wanted(5), resolver_addresses=()))
    with pytest.raises(ConnectionRefusedError):
        vm.ask(SERVER, FIVE)
    assert vm.lease()


def test_upstream_is_asked_for_the_rest_only(dhcp: Dnsmasq, vpc: Vpc, vm: Vm) -> None:
    upstream = vpc.vm(8)
    ip(
        f"-n {upstream.namespace} addr add 172.31.0.8/20 dev eth0",
        f"-n {upstream.namespace} addr add 198.18.0.53/32 dev lo",
        f"-n {vpc.name} route add 198.18.0.53/32 via 172.31.0.8",
    )
    sock = inside(upstream.namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sock.bind(("198.18.0.53", 53))
    asked = []

    def serve() -> None:
        while True:
            message, client = sock.recvfrom(4096)
            if message == b"end":
                return
            asked.append(message[12:].split(b"\0")[0])
            answer = message[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + message[12:].split(b"\0")[0] + b"\0\0\1\0\1"
            sock.sendto(answer + b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\xc6\x12\0\x07", client)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        dhcp.apply(replace(vpc.wanted(5), upstreams=("198.18.0.53",)))
        assert vm.ask(SERVER, "www.example.com") == (NO_ERROR, ["198.18.0.7/30"])
        assert vm.ask(SERVER, FIVE) == (NO_ERROR, ["172.31.0.5/60"])
        assert vm.ask(SERVER, "ip-172-31-9-9.ec2.internal") == (NO_SUCH_NAME, [])
        assert vm.ask(SERVER, "9.9.31.172.in-addr.arpa", PTR) == (NO_SUCH_NAME, [])
        assert asked == [b"\3www\7example\3com"]
    finally:
        inside(
            upstream.namespace,
            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"end", ("198.18.0.53", 53)),
        )
        thread.join()
        sock.close()
