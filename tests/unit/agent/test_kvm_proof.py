"""What a guest's words prove about KVM."""

from pathlib import Path

import pytest

from stead_agent import kvm_proof
from stead_agent.kvm_proof import Verdict, judge
from stead_agent.programs.run import Heard

MARK = b"the kernel runs"


def test_a_guest_that_got_through_proves_kvm():
    assert judge(Heard(b"SeaBIOS\n[ 0.0] Linux\nthe kernel runs\n", None), MARK) == Verdict("kvm")


@pytest.mark.parametrize(
    ("heard", "words"),
    [
        (Heard(b"", None), "did not get through"),
        (Heard(b"SeaBIOS\n", None), "did not get through"),
        (Heard(b"x" * (1 << 20), None), "too much"),
        (Heard(b"", 1), "status 1"),
        (Heard(b"qemu: error: failed to set MSR 0x10a to 0xc000069\nAssertion\n", -6), "MSR 0x10a"),
        (Heard(b"[ 0.1] Linux\nKVM internal error. Suberror: 1\nextra data[0]\n", None), "Suberror: 1"),
        (Heard(b"the kernel runs\nKVM internal error. Suberror: 1\nemulation failure\n", None), "emulation failure"),
    ],
)
def test_all_else_means_emulation_and_says_why(heard, words):
    verdict = judge(heard, MARK)
    assert verdict.virtualization == "qemu"
    assert words in verdict.reason
    assert len(verdict.reason) < 400


def test_a_proof_is_of_one_boot_of_the_machine_whatever_the_boots_of_a_rigs_host(tmp_path, monkeypatch):
    own, machine = tmp_path / "own", tmp_path / "machine"
    booted = []
    names = {"KVM_DEVICE": Path("/dev/null"), "_BOOT_ID": own, "_MACHINE_BOOT_ID": machine}
    functions = {
        "_micro": lambda _image: object(),
        "_qemu_version": lambda: "1",
        "_boot": lambda guest: booted.append(guest) or kvm_proof.Verdict("kvm"),
    }
    for name, value in (names | functions).items():
        monkeypatch.setattr(kvm_proof, name, value)

    def boots(own_id, machine_id=""):
        own.write_text(own_id)
        if machine_id:
            machine.write_text(machine_id)
        before = len(booted)
        assert kvm_proof.prove(None, tmp_path).virtualization == "kvm"
        return len(booted) - before

    assert [boots("a"), boots("a"), boots("b")] == [1, 0, 1]
    assert [boots("b", "m"), boots("c", "m"), boots("c", "n")] == [1, 0, 1]
