"""EC2's shapes are written at the wire and nowhere else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.house.checkout import ROOT, complain, name_of, nodes_of, python_files

_CONTROLLER = ROOT / "controller" / "stead_controller"
_TYPED = ("resources", "hosts", "desired", "request", "catalog")
_SHAPE = re.compile(r"[A-Z][a-z0-9]+(?:[A-Z][A-Za-z0-9]*)?\Z")

# Files that still write answers, and go one by one: `aws/<service>/<domain>/<noun>_view.py` is where it belongs.
NOT_YET: frozenset[str] = frozenset(
    {
        "hosts/link.py",
        "resources/iam/access_keys.py",
        "resources/iam/account_details.py",
        "resources/iam/account_settings.py",
        "resources/iam/attached_policies.py",
        "resources/iam/bound_principals.py",
        "resources/iam/federation.py",
        "resources/iam/groups.py",
        "resources/iam/iam_tags.py",
        "resources/iam/inline_policies.py",
        "resources/iam/instance_profiles.py",
        "resources/iam/login_profiles.py",
        "resources/iam/mfa_devices.py",
        "resources/iam/oidc_providers.py",
        "resources/iam/passwords.py",
        "resources/iam/permissions_boundaries.py",
        "resources/iam/policies.py",
        "resources/iam/policies_of_caller.py",
        "resources/iam/policy_simulator.py",
        "resources/iam/policy_versions.py",
        "resources/iam/roles.py",
        "resources/iam/users.py",
        "resources/images/copy_image.py",
        "resources/images/image_attributes.py",
        "resources/images/image_life.py",
        "resources/images/image_tasks.py",
        "resources/images/images.py",
        "resources/instances/create_image.py",
        "resources/instances/describe_instance_types.py",
        "resources/instances/describe_instances.py",
        "resources/instances/instance_attributes.py",
        "resources/instances/instance_status.py",
        "resources/instances/key_pairs.py",
        "resources/instances/metadata_options.py",
        "resources/instances/profile_associations.py",
        "resources/network/describe_vpc_endpoints.py",
        "resources/network/elastic_addresses.py",
        "resources/network/flow_logs.py",
        "resources/network/prefix_lists.py",
        "resources/network/private_names.py",
        "resources/network/vpc_endpoint_services.py",
        "resources/network/vpc_peering_connections.py",
        "resources/storage/block_devices.py",
        "resources/storage/create_snapshots.py",
        "resources/storage/lifecycle_policies.py",
        "resources/storage/snapshot_attributes.py",
        "resources/storage/snapshots.py",
        "resources/storage/volume_modifications.py",
        "resources/storage/volume_status.py",
        "resources/storage/volumes.py",
        "resources/tags.py",
    }
)


def test_answers_are_made_at_the_wire() -> None:
    offences = []
    seen = set()
    for path in _files():
        lines = sorted(set(_keys(path)))
        name = path.relative_to(_CONTROLLER).as_posix()
        if lines and name in NOT_YET:
            seen.add(name)
        elif lines:
            offences.append(f"{name_of(path)}: lines {', '.join(map(str, lines))}")
    complain("Keys of an answer are written in aws/…_view.py; give it typed values:", offences)
    complain("These write none any more, take them out of NOT_YET:", sorted(NOT_YET - seen))


def _files() -> Iterator[Path]:
    return (path for path in python_files() if any(path.is_relative_to(_CONTROLLER / room) for room in _TYPED))


def _keys(path: Path) -> Iterator[int]:
    """The lines where a dict gets or is asked for a key in PascalCase."""
    for node in nodes_of(path):
        keys = node.keys if isinstance(node, ast.Dict) else [node.slice] if isinstance(node, ast.Subscript) else []
        for key in keys:
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and _SHAPE.match(key.value):
                yield key.lineno
