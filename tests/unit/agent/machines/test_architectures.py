"""What libvirt's capabilities say of the architectures of guests."""

import os
from pathlib import Path

import pytest

from stead_agent.machines import architectures
from stead_agent.machines.firmware import AAVMF, Build
from stead_agent.machines.interface import MachineSpec
from stead_agent.machines.preparation import Preparation

GUEST = """<guest><os_type>{os}</os_type><arch name='{arch}'><wordsize>64</wordsize><emulator>{path}</emulator>
<machine>m</machine>{domains}</arch></guest>"""
QEMU = "<domain type='qemu'/>"
X86 = GUEST.format(os="hvm", arch="x86_64", path="/q/x86", domains=f"{QEMU}<domain type='kvm'/>")
ARM = GUEST.format(os="hvm", arch="aarch64", path="/q/arm", domains=QEMU)
OTHER = GUEST.format(os="hvm", arch="riscv64", path="/q/riscv", domains=QEMU)
XEN = GUEST.format(os="xen", arch="aarch64", path="/q/xen", domains=QEMU)
DAC = "<host><secmodel><model>dac</model><baselabel type='kvm'>+64055:+64055</baselabel></secmodel></host>"
LOADER = "<domainCapabilities><os><loader><value>{}</value></loader></os></domainCapabilities>"


class Libvirt:
    """A connection to a libvirt that says these capabilities, and knows this firmware."""

    def __init__(self, guests: str, loader: str) -> None:
        self._guests, self._loader = guests, loader

    def getCapabilities(self) -> str:  # noqa: N802 - libvirt's
        return f"<capabilities>{self._guests}</capabilities>"

    def getDomainCapabilities(self, *asked: str) -> str:  # noqa: N802 - libvirt's
        assert asked == ("/q/arm", "aarch64", "virt", "qemu")
        return LOADER.format(self._loader)


def test_of_guests_that_libvirt_runs_those_with_an_architecture_of_ec2_are_known():
    found = architectures.emulators(f"<capabilities>{X86}{OTHER}{XEN}{ARM}</capabilities>")
    assert found == {
        "x86_64": architectures.Emulator(Path("/q/x86"), kvm=True),
        "arm64": architectures.Emulator(Path("/q/arm"), kvm=False),
    }


@pytest.mark.parametrize(
    ("machine", "libvirt", "emulated"),
    [
        ("x86_64", Libvirt(X86 + ARM, str(AAVMF.code)), ("arm64",)),
        ("x86_64", Libvirt(X86 + ARM, "/another.fd"), ()),
        ("x86_64", Libvirt(X86, str(AAVMF.code)), ()),
        ("aarch64", Libvirt(ARM, str(AAVMF.code)), ()),
    ],
    ids=["both", "without firmware", "without emulator", "its own"],
)
def test_another_architecture_is_emulated_where_libvirt_has_emulator_and_firmware(
    monkeypatch, tmp_path, machine, libvirt, emulated
):
    monkeypatch.setattr(architectures.platform, "machine", lambda: machine)
    variables = tmp_path / "vars.fd"
    variables.touch()
    builds = {"arm64": Build(AAVMF.code, variables)}
    monkeypatch.setattr(architectures, "BUILDS", builds)
    assert architectures.emulated(libvirt) == emulated
    variables.unlink()
    assert architectures.emulated(libvirt) == ()


def test_ec2_has_other_names_than_linux(monkeypatch):
    for machine, name in (("x86_64", "x86_64"), ("aarch64", "arm64"), ("riscv64", "riscv64")):
        monkeypatch.setattr(architectures.platform, "machine", lambda machine=machine: machine)
        assert architectures.own() == name


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a folder another user's")
@pytest.mark.parametrize("virtualization", ["kvm", "qemu"])
def test_a_host_with_kvm_emulates_another_architecture_and_keeps_no_memory_for_that(
    monkeypatch, tmp_path, virtualization
):
    monkeypatch.setattr(architectures.platform, "machine", lambda: "x86_64")
    spec = MachineSpec("i-0123456789abcdef0", 1, 1 << 30, disks=(), nics=(), architecture="arm64")
    host = Preparation(tmp_path, virtualization, tmp_path).prepare(Libvirt(DAC + X86 + ARM, ""), spec, tmp_path / "log")
    assert (host.virtualization, host.keeps_for_emulation) == ("qemu", virtualization == "qemu")
    assert host.emulator == Path("/q/arm")
