"""Types with accelerators, which are offered nowhere yet, have what is asked for or not."""

import pytest

from stead_controller.catalog.instance_types import ALL
from stead_controller.resources.instances.instance_requirements import Range, Requirements, meets

LITTLE = {"architectures": ("x86_64",), "virtualization_types": ("hvm",), "vcpus": Range(1), "memory_mib": Range(1)}


@pytest.mark.parametrize(
    ("asked", "families"),
    [
        ({}, {"g4dn", "g5", "p3", "m5"}),
        ({"accelerators": Range(1)}, {"g4dn", "g5", "p3"}),
        ({"accelerators": Range(None, 0)}, {"m5"}),
        ({"accelerators": Range(8, 8)}, {"g5", "p3"}),
        ({"accelerator_types": ("gpu",)}, {"g4dn", "g5", "p3"}),
        ({"accelerator_types": ("fpga",)}, set()),
        ({"accelerator_manufacturers": ("nvidia",)}, {"g4dn", "g5", "p3"}),
        ({"accelerator_manufacturers": ("amd",)}, set()),
        ({"accelerator_names": ("t4", "v100")}, {"g4dn", "p3"}),
        ({"accelerator_memory_mib": Range(24576, 24576)}, {"g5"}),
    ],
)
def test_accelerators(asked, families):
    found = {kind.family for kind in ALL.values() if meets(kind, Requirements(**LITTLE, **asked))}
    assert found & {"g4dn", "g5", "p3", "m5"} == families
