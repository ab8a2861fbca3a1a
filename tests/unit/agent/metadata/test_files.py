"""Guests as files: what is read is what was written, and nothing else ever becomes a path."""

import dataclasses
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.metadata.files import Files, StoredVpc, from_json, to_json
from stead_agent.metadata.interface import (
    Guest,
    GuestInterface,
    Identity,
    MetadataError,
    Options,
    PublicAddress,
    PublicKey,
    Role,
)
from tests.support.metadata_guests import VPC, guest

_ANY_GUEST = st.builds(
    Guest,
    **{field.name: st.text(max_size=5) for field in dataclasses.fields(Guest) if field.type is str},
    interfaces=st.lists(
        st.builds(
            GuestInterface,
            public_addresses=st.lists(st.builds(PublicAddress), max_size=2).map(tuple),
            **{
                field.name: st.lists(st.text(max_size=3), max_size=2).map(tuple)
                for field in dataclasses.fields(GuestInterface)
                if field.type == tuple[str, ...]
            },
        ),
        max_size=2,
    ).map(tuple),
    user_data=st.none() | st.binary(max_size=20),
    public_keys=st.lists(st.builds(PublicKey), max_size=2).map(tuple),
    security_groups=st.lists(st.text(max_size=3), max_size=2).map(tuple),
    ebs_device_names=st.lists(st.text(max_size=3), max_size=2).map(tuple),
    ephemeral_device_names=st.lists(st.text(max_size=3), max_size=2).map(tuple),
    volumes=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    tags=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    options=st.builds(Options),
    role=st.none() | st.builds(Role),
    identity_role=st.none() | st.builds(Role),
    identity=st.none() | st.builds(Identity),
)


@given(_ANY_GUEST)
def test_a_guest_comes_back_as_it_was(wanted: Guest) -> None:
    assert from_json(json.loads(json.dumps(to_json(wanted)))) == wanted


def test_what_was_written_is_read_by_the_next(tmp_path: Path) -> None:
    files = Files(tmp_path / "vpcs")
    assert files.are_empty()
    files.write_guest(VPC, guest())
    files.write_guest(VPC, replace(guest(1), user_data=b"\xff\x00"))
    files.write_namespace(VPC, Path("/run/netns/x"))
    files.write_guest("vpc-2", guest(2, vpc_id="vpc-2"))
    files.write_guest(VPC, replace(guest(), hostname="changed"))
    assert not files.are_empty()
    assert list(Files(tmp_path / "vpcs").read()) == [
        StoredVpc(
            VPC, Path("/run/netns/x"), (replace(guest(), hostname="changed"), replace(guest(1), user_data=b"\xff\x00"))
        ),
        StoredVpc("vpc-2", None, (guest(2, vpc_id="vpc-2"),)),
    ]
    files.remove_guest("vpc-2", guest(2).instance_id)
    files.remove_vpc(VPC)
    files.remove_vpc(VPC)
    files.remove_guest(VPC, guest().instance_id)
    assert files.are_empty()


def test_only_root_may_read(tmp_path: Path) -> None:
    Files(tmp_path / "vpcs").write_guest(VPC, guest())
    (made,) = (tmp_path / "vpcs" / VPC).iterdir()
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("broken", ["", "{", "[]", "{}", '{"user_data": 3}', "null"])
def test_a_file_that_is_no_guest_costs_only_itself(tmp_path: Path, broken: str) -> None:
    files = Files(tmp_path)
    files.write_guest(VPC, guest())
    (tmp_path / VPC / "i-0.json").write_text(broken)
    assert [stored.guests for stored in files.read()] == [(guest(),)]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "vpc-1/x", "/vpc-1", "vpc-1\0", "VPC-1", "vpc"])
def test_no_name_becomes_another_path(tmp_path: Path, name: str) -> None:
    files = Files(tmp_path)
    with pytest.raises(MetadataError):
        files.write_namespace(name, Path("/run/netns/x"))
    with pytest.raises(MetadataError):
        files.write_guest(VPC, replace(guest(), instance_id=name))
    assert files.are_empty()
