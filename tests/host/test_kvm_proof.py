"""The proof of KVM with real guests, by emulation: what it takes for a proof is what a sound guest says."""

import os
from pathlib import Path

import pytest

from stead_agent import kvm_proof
from tests.support import micro

pytestmark = [pytest.mark.guest, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def test_a_sound_guest_is_a_proof(tmp_path, monkeypatch):
    monkeypatch.setattr(kvm_proof, "KVM_DEVICE", Path("/dev/null"))
    monkeypatch.setattr(kvm_proof, "_MACHINE", ("-machine", "q35,accel=tcg", "-cpu", "max"))
    monkeypatch.setattr(kvm_proof, "_DEADLINE", 60.0)
    image = micro.build()
    before = image.stat()
    assert kvm_proof.prove(image, tmp_path) == kvm_proof.Verdict("kvm")
    assert (image.stat().st_mtime_ns, image.stat().st_uid) == (before.st_mtime_ns, before.st_uid)
    monkeypatch.setattr(kvm_proof, "_boot", lambda _guest: pytest.fail("a stored proof was made again"))
    assert kvm_proof.prove(image, tmp_path) == kvm_proof.Verdict("kvm")
