"""The checks of a host, on the real kernel: they find what is there and leave nothing."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from stead_agent import doctor, kvm_proof
from stead_agent.disks.volumes.interface import Capacity
from stead_agent.settings import PoolSetting

pytestmark = pytest.mark.root


def test_each_check_says_what_it_found_and_what_is_not_well_has_a_remedy(tmp_path):
    found = doctor.checks(tmp_path)
    names = [check.name for check in found]
    assert len(set(names)) == len(names)
    assert {"KVM", "libvirt", "nftables", "VXLAN", "taps", "dnsmasq", "disk", "br_netfilter"} <= set(names)
    for check in found:
        assert check.detail
        assert check.status == "ok" or check.remedy, check


def test_the_kernel_of_a_test_machine_can_do_all_that_the_network_needs(tmp_path):
    needed = {"network namespaces", "bridges", "veth pairs", "VXLAN", "taps", "bandwidth limits", "nftables"}
    assert {check.name for check in doctor.checks(tmp_path) if check.status == "ok"} >= needed


def test_a_missing_program_is_named_with_its_package(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.shutil, "which", lambda _name, **_: None)
    check = next(check for check in doctor.checks(tmp_path) if check.name == "dnsmasq")
    assert (check.status, check.remedy) == ("failed", "apt-get install dnsmasq-base")


def test_without_ovmf_a_machine_is_a_host_whose_guests_boot_by_bios(monkeypatch, tmp_path):
    check = next(check for check in doctor.checks(tmp_path) if check.name == "UEFI firmware")
    assert check.status == "ok"
    absent = dataclasses.replace(doctor.firmware.OVMF, code=tmp_path / "absent")
    monkeypatch.setattr(doctor.firmware, "OVMF", absent)
    check = next(check for check in doctor.checks(tmp_path) if check.name == "UEFI firmware")
    assert (check.status, check.remedy) == ("warning", "apt-get install ovmf")


def test_without_swtpm_a_machine_is_a_host_whose_guests_have_no_tpm(monkeypatch, tmp_path):
    check = next(check for check in doctor.checks(tmp_path) if check.name == "TPM")
    assert check.status == "ok"
    monkeypatch.setattr(doctor.firmware.shutil, "which", lambda name, **_: None if name == "swtpm" else f"/bin/{name}")
    check = next(check for check in doctor.checks(tmp_path) if check.name == "TPM")
    assert (check.status, check.remedy) == ("warning", "apt-get install swtpm swtpm-tools")


def test_each_pool_is_looked_for(tmp_path):
    pools = [
        PoolSetting.parse(text)
        for text in (f"bulk:directory:{tmp_path}:st1", "gone:directory:/nowhere", "fast:lvm:a/b")
    ]
    bulk, gone, fast = doctor.checks(tmp_path, pools=pools)[-3:]
    assert (bulk.name, bulk.status) == ("pool bulk", "ok")
    assert bulk.detail.endswith("for st1")
    assert (gone.status, fast.status) == ("failed", "failed")
    assert fast.remedy


def test_a_pool_that_is_nearly_full_is_a_warning(tmp_path, monkeypatch):
    pools = [PoolSetting.parse(text) for text in (f"bulk:directory:{tmp_path}", "fast:lvm:a/b")]
    for free, expected in ((1 << 30, ("ok", False)), ((1 << 30) - 1, ("warning", True))):
        room = Capacity(total=8 << 30, free=free, held=0)
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _folder, room=room: room)
        pool = SimpleNamespace(capacity=lambda room=room: room)
        monkeypatch.setattr(doctor, "open_pool", lambda *_, pool=pool: pool)
        found = doctor.checks(tmp_path, pools=pools)[-2:]
        assert [(check.status, "make room" in check.remedy) for check in found] == [expected] * 2


def test_the_program_prints_json(tmp_path):
    program = Path(sys.executable).parent / "stead-agent"
    done = subprocess.run(
        [program, "doctor", f"--state-dir={tmp_path}", "--output=json"], capture_output=True, check=False
    )
    checks = json.loads(done.stdout)
    assert done.returncode == (1 if any(check["status"] == "failed" for check in checks) else 0)


def test_kvm_without_an_image_is_unproven(tmp_path):
    verdict = kvm_proof.prove(tmp_path / "none.qcow2", tmp_path)
    assert verdict.virtualization == "qemu"
    assert verdict.reason


def test_a_guest_that_never_speaks_proves_nothing(tmp_path, monkeypatch):
    if not kvm_proof.KVM_DEVICE.exists():
        pytest.skip("this machine has no /dev/kvm to try")  # the case without it is tested above
    image = tmp_path / "empty.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"], check=True)
    monkeypatch.setattr(kvm_proof, "_DEADLINE", 1.0)
    verdict = kvm_proof.prove(image, tmp_path)
    assert verdict.virtualization == "qemu"
    stored = json.loads((tmp_path / "kvm-proof.json").read_text())
    assert stored["reason"] == verdict.reason
    monkeypatch.setattr(kvm_proof, "_boot", lambda _image: pytest.fail("a stored proof was made again"))
    assert kvm_proof.prove(image, tmp_path) == verdict
