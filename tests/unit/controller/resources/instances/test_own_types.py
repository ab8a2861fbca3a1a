"""Instance types of the operator's own in their transaction: added, launched, and removed when nothing has them."""

import pytest

from stead_controller.catalog.instance_type import EbsLimit
from stead_controller.errors import AlreadyExists, BadRequest, InUse, InvalidParameter, NotFound
from stead_controller.request import instance_types
from stead_controller.resources.instances import own_types
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_proto.v1 import desired_pb2 as desired
from tests.support.rows import GIB, NOW

FACTS = {
    "vcpus": 4,
    "threads_per_core": 2,
    "memory_mib": 1024,
    "interfaces": 3,
    "addresses": 5,
    "network_mbps": {"baseline": 100, "burst": 200},
    "instance_store": {"count": 1, "size_gb": 2, "medium": "ssd"},
    "credits": {"per_hour": 24, "max": 576, "baseline_percent": 10},
}


def add(life, name="lab.big", facts=None):
    return life.run(lambda tx: own_types.add(tx, name, FACTS if facts is None else facts, NOW))


def names(life):
    return [kind.name for kind in life.run(instance_types.own)]


def test_an_added_type_is_found_with_all_its_figures(life):
    made = add(life)
    found = life.run(lambda tx: instance_types.find(tx, "lab.big"))
    assert found == made
    assert (found.vcpus, found.cores, found.memory, found.offered) == (4, 2, GIB, True)
    assert (found.max_interfaces, found.max_addresses) == (3, 5)
    assert (found.network_baseline_mbps, found.network_burst_mbps) == (100, 200)
    assert found.ebs_optimized == "unsupported"
    assert found.instance_store.total_size == 2
    assert found.credits.baseline_percent == 10
    assert found in life.run(instance_types.everything)
    assert life.run(lambda tx: instance_types.find(tx, "lab.small")) is None


def test_a_type_may_limit_all_volumes_together(life):
    limits = {"ebs_mbps": {"baseline": 10, "max": 20}, "ebs_iops": {"baseline": 100, "max": 300}}
    found = add(life, facts=FACTS | limits)
    assert (found.ebs, found.ebs_optimized) == (EbsLimit(10, 20, 100, 300), "default")


@pytest.mark.parametrize(
    ("name", "change", "error", "words"),
    [
        ("lab.big", {}, AlreadyExists, "There is an instance type lab.big already"),
        ("m5.huge", {}, InvalidParameter, "The family m5 has the sizes of Stead's catalogue"),
        ("lab", {}, BadRequest, "a size is at most nine"),
        ("Lab.big", {}, BadRequest, "family must be lower-case"),
        ("lab.other", {"vcpus": 3}, BadRequest, "3 vcpus are no cores of 2 threads"),
        ("lab.other", {"vcpus": 0}, BadRequest, "vcpus must be from 1"),
        ("lab.other", {"memory_mib": 95}, InvalidParameter, "A guest needs 96 MiB of memory or more: with 95 MiB"),
        ("lab.other", {"colour": "red"}, BadRequest, "unknown key colour"),
        (
            "lab.other",
            {"network_mbps": {"baseline": 2, "burst": 1}},
            BadRequest,
            "the baseline 2 is more than burst, 1",
        ),
        ("lab.other", {"ebs_mbps": {"baseline": 1, "max": 2}}, InvalidParameter, "belong together"),
        ("lab.other", {"ebs_iops": {"baseline": 100, "max": 200}}, InvalidParameter, "belong together"),
    ],
)
def test_what_is_no_new_type_is_refused(life, name, change, error, words):
    add(life)
    with pytest.raises(error, match=words):
        add(life, name, FACTS | change)
    assert names(life) == ["lab.big"]


def test_a_type_may_have_as_little_memory_as_a_guest_boots_with(life):
    assert add(life, facts=FACTS | {"memory_mib": 96}).memory_mib == 96


def test_a_type_in_use_is_not_removed(life):
    add(life)
    [instance_id] = life.launch(instance_type="lab.big")
    life.is_running(instance_id)
    instance = life.instance(instance_id)
    assert (instance.vcpus, instance.threads_per_core, instance.memory) == (4, 2, GIB)
    with pytest.raises(InUse, match=f"The instance {instance_id} has the type lab.big"):
        life.run(own_types.remove, "lab.big")
    assert names(life) == ["lab.big"]


def test_a_type_that_ended_instances_had_is_removed(life):
    add(life)
    [instance_id] = life.launch(instance_type="lab.big")
    life.run(terminate_instances, life.caller, [instance_id], NOW)
    life.is_absent(desired.KIND_MACHINE, instance_id)
    assert life.instance(instance_id).state == "terminated"
    life.run(own_types.remove, "lab.big")
    assert names(life) == []


@pytest.mark.parametrize(("name", "error"), [("lab.big", NotFound), ("t3.micro", InvalidParameter)])
def test_what_was_not_added_is_not_removed(life, name, error):
    with pytest.raises(error):
        life.run(own_types.remove, name)
