"""A running guest is moved to the threads that it may use now, and a start without enough huge pages is refused."""

from types import SimpleNamespace

import libvirt
import pytest

from stead_agent import hardware
from stead_agent.machines import affinity
from stead_agent.machines.interface import MachineError, MachineSpec, Pinning

ALL = (True, True, True)
SOME = (True, False, True)


class Domain:
    """What libvirt knows of a guest's threads."""

    def __init__(self, vcpus, emulator):
        self.vcpus, self.emulator = list(vcpus), emulator
        self.calls = 0

    def emulatorPinInfo(self, _flags):  # noqa: N802 - libvirt's name
        return self.emulator

    def vcpuPinInfo(self, _flags):  # noqa: N802 - libvirt's name
        return list(self.vcpus)

    def pinEmulator(self, threads, _flags):  # noqa: N802 - libvirt's name
        self.emulator = threads
        self.calls += 1

    def pinVcpuFlags(self, vcpu, threads, _flags):  # noqa: N802 - libvirt's name
        self.vcpus[vcpu] = threads
        self.calls += 1


class Guest:
    """A domain that runs, and how its vCPUs are pinned."""

    def __init__(self, name, *pins):
        self._name, self._pins = name, pins

    def name(self):
        return self._name

    def XMLDesc(self, _flags):  # noqa: N802 - libvirt's name
        if self._pins == ("ended",):
            raise NoDomainError
        pins = "".join(f"<vcpupin vcpu='{number}' cpuset='{pin}'/>" for number, pin in enumerate(self._pins))
        return f"<domain><cputune>{pins}<emulatorpin cpuset='5'/></cputune></domain>"


class NoDomainError(libvirt.libvirtError):
    """What libvirt says of a domain that has ended."""

    def __init__(self):
        super().__init__("no domain")

    def get_error_code(self):
        return libvirt.VIR_ERR_NO_DOMAIN


def spec(**changes):
    return MachineSpec("i-0123456789abcdef0", 2, 128 << 20, (), (), **changes)


def test_a_guest_leaves_threads_that_were_set_apart_and_is_left_alone_then():
    domain = Domain([ALL, SOME], ALL)
    affinity.renew(domain, spec(), "0,2")
    assert (domain.vcpus, domain.emulator, domain.calls) == ([SOME, SOME], SOME, 2)
    affinity.renew(domain, spec(), "0,2")
    assert domain.calls == 2


def test_a_guest_with_whole_cores_stays_on_them():
    mine = (False, True, False)
    domain = Domain([mine, mine], ALL)
    affinity.renew(domain, spec(pinning=Pinning((1, 3), 0)), "0,2")
    assert (domain.vcpus, domain.emulator) == ([mine, mine], SOME)


def test_where_nothing_is_set_apart_nothing_is_moved():
    domain = Domain([ALL], SOME)
    affinity.renew(domain, spec(), "")
    assert domain.calls == 0


def test_threads_that_another_guest_still_has_are_not_given():
    def check(*guests):
        live = SimpleNamespace(listAllDomains=lambda _flags: list(guests))
        affinity.check_threads(live, spec(pinning=Pinning((3, 5), 0)))

    check(Guest("i-1"), Guest("i-2", "0-2,4"), Guest("i-3", "ended"), Guest("i-0123456789abcdef0", "3", "5"))
    for pin in ("5", "2-4"):
        with pytest.raises(MachineError, match=r"i-2 still has the hardware thread [35]"):
            check(Guest("i-1"), Guest("i-2", "0", pin))
    affinity.check_threads(None, spec())


def test_a_start_without_enough_huge_pages_says_so(monkeypatch):
    monkeypatch.setattr(hardware, "free_huge_pages", {1: 63, 2: 64}.__getitem__)
    affinity.check_huge_pages(spec())
    affinity.check_huge_pages(spec(pinning=Pinning((1, 3), 1)))
    affinity.check_huge_pages(spec(pinning=Pinning((1, 3), 2, huge_pages=True)))
    with pytest.raises(MachineError, match="63 of 64 huge pages of 2 MiB are free in memory node 1"):
        affinity.check_huge_pages(spec(pinning=Pinning((1, 3), 1, huge_pages=True)))
