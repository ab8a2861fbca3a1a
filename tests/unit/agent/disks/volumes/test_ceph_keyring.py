"""Keyrings as Ceph's tools write them, and files that are none."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.disks.volumes.ceph_keyring import key_of, parse_keyring
from stead_agent.disks.volumes.interface import VolumeError

USER = "client.stead"
OTHER = "client.admin"
PLACE = Path("/etc/ceph/keyring")


@given(st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40), st.sampled_from(["\t", "", "    "]))
def test_each_user_has_its_key(first, second, indent):
    keys = {USER: base64.b64encode(first).decode(), OTHER: base64.b64encode(second).decode()}
    text = "".join(
        f'[{user}]\n{indent}key = {key}\n{indent}caps mon = "profile rbd"\n{indent}caps osd = "profile rbd pool=x"\n'
        for user, key in keys.items()
    )
    assert parse_keyring(text, PLACE) == keys


@given(st.text(max_size=200))
def test_other_text_is_refused_or_has_no_key_of_ours(text):
    try:
        keys = parse_keyring(text, PLACE)
    except VolumeError:
        return
    assert USER not in keys


def test_a_broken_key_is_not_in_the_message():
    with pytest.raises(VolumeError) as refused:
        parse_keyring(f"[{USER}]\nkey = not*base64\n", PLACE)
    assert "not*base64" not in str(refused.value)


def test_the_first_keyring_that_has_the_user_counts(tmp_path):
    for name, user, key in (("a", OTHER, "YWRtaW4="), ("b", USER, "c3RlYWQ="), ("c", USER, "b2xk")):
        (tmp_path / name).write_text(f"[{user}]\n\tkey = {key}\n")
    names = ",".join(str(tmp_path / name) for name in ("none", "a", "b", "c"))
    assert key_of(names, USER) == "c3RlYWQ="
    with pytest.raises(VolumeError, match=r"no key of client\.nobody"):
        key_of(names, "client.nobody")
