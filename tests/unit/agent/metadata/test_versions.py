"""What old versions of the metadata show: what EC2 showed with them, and all that they list can be read."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.metadata.answers import Known
from stead_agent.metadata.interface import Guest
from stead_agent.metadata.tree import entries
from stead_agent.metadata.versions import VERSIONS, first_versions
from tests.unit.agent.metadata.test_golden_paths import FIRST, everything

NOW = 1.0
GUEST = replace(everything(), role=None, identity_role=None)
AT_FIRST = (
    "ami-id\nami-launch-index\nami-manifest-path\nhostname\ninstance-id\nlocal-ipv4\nprofile\n"
    "public-keys/\nreservation-id\nsecurity-groups"
)


def read(path: str, guest: Guest = GUEST) -> str | None:
    body = Known(guest).find(path, NOW)
    return None if body is None else body.decode()


def test_the_first_version_shows_what_there_was_at_first() -> None:
    assert read("1.0") == "meta-data\nuser-data"
    assert read("1.0/meta-data") == AT_FIRST
    assert read("1.0/user-data") == "#!/bin/sh\n"
    assert read("1.0/meta-data/public-keys") == "0=my key"
    assert read("1.0/meta-data/public-keys/0/openssh-key") is not None
    assert read("1.0/dynamic/instance-identity/document") is None
    assert read("1.0/meta-data/placement/availability-zone") is None


@pytest.mark.parametrize(
    ("path", "before", "since"),
    [
        ("dynamic", "2008-09-01", "2009-04-04"),
        ("meta-data/instance-type", "2007-03-01", "2007-08-29"),
        ("meta-data/block-device-mapping/root", "2007-10-10", "2007-12-15"),
        ("meta-data/placement", "2007-12-15", "2008-02-01"),
        ("meta-data/placement/region", "2008-09-01", "2009-04-04"),
        ("meta-data/mac", "2008-09-01", "2009-04-04"),
        ("meta-data/placement/availability-zone-id", "2018-09-24", "2019-10-01"),
        ("meta-data/network", "2009-04-04", "2011-01-01"),
        (f"meta-data/network/interfaces/macs/{FIRST}/vpc-id", "2009-04-04", "2011-01-01"),
        (f"meta-data/network/interfaces/macs/{FIRST}/ipv6s", "2016-04-19", "2016-06-30"),
        ("meta-data/services/domain", "2012-01-12", "2014-02-25"),
        ("meta-data/services/partition", "2014-11-05", "2015-10-20"),
        ("meta-data/events", "2018-03-28", "2018-08-17"),
        ("meta-data/ipv6", "2020-10-27", "2021-01-03"),
        ("meta-data/tags/instance/Name", "2021-01-03", "2021-03-23"),
        ("dynamic/stead/volumes", "2008-09-01", "2009-04-04"),
        ("meta-data/system", "2021-07-15", "2022-09-24"),
    ],
)
def test_a_path_is_there_since_its_version(path: str, before: str, since: str) -> None:
    parent, _, name = path.rpartition("/")
    assert read(f"{before}/{path}") is None
    shown, latest = read(f"{since}/{path}"), read(f"latest/{path}")
    assert shown is not None
    assert set(shown.split("\n")) <= set((latest or "").split("\n"))
    assert name not in (read(f"{before}/{parent}".rstrip("/")) or "").replace("/", "").split("\n")
    assert name in (read(f"{since}/{parent}".rstrip("/")) or "").replace("/", "").split("\n")


def test_versions_are_in_order_and_the_last_shows_all() -> None:
    assert list(VERSIONS) == sorted(VERSIONS)
    known = Known(GUEST)
    for path in first_versions(entries(GUEST)):
        assert known.find(f"2024-04-11/{path}", NOW) == known.find(f"latest/{path}", NOW)


@given(st.sampled_from(VERSIONS))
def test_all_that_a_version_lists_it_has(version: str) -> None:
    known = Known(GUEST)

    def walk(path: str) -> int:
        body = known.find(f"{version}/{path}".rstrip("/"), NOW)
        assert body is not None, path
        found = 0
        for line in body.decode().splitlines():
            name = f"{line.split('=')[0]}/" if path.endswith("public-keys/") else line
            if name.endswith("/") or name in ("dynamic", "meta-data"):
                found += walk(f"{path}{name.rstrip('/')}/")
            else:
                found += 1
                assert known.find(f"{version}/{path}{name}", NOW) is not None, name
        return found

    assert walk("") > 10


def test_credentials_are_as_old_as_iam() -> None:
    who = replace(everything(), identity_role=None)
    assert who.role is not None
    known = Known(replace(who, role=replace(who.role, expires=9)))
    path = "meta-data/iam/security-credentials/reader"
    assert known.find(f"2011-05-01/{path}", NOW) is None
    assert known.find(f"2012-01-12/{path}", NOW) == known.find(f"latest/{path}", NOW) is not None
    assert known.find(f"2012-01-12/{path}", 9) is None
