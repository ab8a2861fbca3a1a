"""What of links and tables may be damaged, and what damage is noticed."""

import json
from typing import Any

import pytest

from tests.recovery.storm import drift

TAP, BRIDGE = "stt0123456789", "stb0123456789"


def link(name: str, kind: str, *flags: str, master: str = "") -> dict[str, Any]:
    return {
        "ifname": name,
        "flags": list(flags),
        "linkinfo": {"info_kind": kind},
        **({"master": master} if master else {}),
    }


WELL = [link("lo", "", "UP"), link(BRIDGE, "bridge", "UP"), link(TAP, "tun", "UP", master=BRIDGE)]
TABLES = "- namespace\n- table bridge stead\nvpc-1 namespace\nvpc-1 table inet stead\nvpc-1 table inet other\n"


def observed(links: list[dict[str, Any]], taps: str = f"i-1 {TAP}\n", tables: str = TABLES) -> str:
    return "====\n".join((json.dumps(links) + "\n", taps, tables))


def test_only_what_is_ours_is_damaged_and_no_tap_is_deleted() -> None:
    damages = drift.of_links([*WELL, link("vx0123456789", "vxlan", "UP")])
    assert [command[3:] for command in damages if command[-1] == "down"] == [
        (BRIDGE, "down"),
        (TAP, "down"),
        ("vx0123456789", "down"),
    ]
    assert ("ip", "link", "set", TAP, "nomaster") in damages
    assert ("ip", "link", "delete", BRIDGE) in damages
    assert [command[3] for command in damages if command[2] == "delete"] == [BRIDGE]
    assert drift.of_tables(TABLES) == [
        ("nft", "delete", "table", "bridge", "stead"),
        ("ip", "netns", "exec", "vpc-1", "nft", "delete", "table", "inet", "stead"),
    ]


def test_a_host_in_order_has_no_faults() -> None:
    assert drift.faults_of(observed(WELL)) == []
    assert drift.faults_of(observed([link("lo", "", "UP")], taps="", tables="")) == []


@pytest.mark.parametrize(
    ("links", "words"),
    [
        (WELL[:2], "is not there"),
        ([*WELL[:2], link(TAP, "tun", master=BRIDGE)], "is down"),
        ([*WELL[:2], link(TAP, "tun", "UP")], "on no bridge"),
        ([link(BRIDGE, "bridge"), WELL[2]], "bridge stb0123456789 is down"),
        ([WELL[0], WELL[2]], "on no bridge"),
    ],
)
def test_damage_is_noticed(links: list[dict[str, Any]], words: str) -> None:
    (fault,) = drift.faults_of(observed(links))
    assert words in fault


def test_tables_that_are_gone_are_noticed() -> None:
    host, vpc = "there is no table in -", "there is no table in vpc-1"
    assert drift.faults_of(observed(WELL, tables="- namespace\nvpc-1 namespace\nvpc-1 table inet stead\n")) == [host]
    assert drift.faults_of(observed(WELL, tables="- namespace\n- table bridge stead\nvpc-1 namespace\n")) == [vpc]
    assert drift.faults_of(observed([WELL[0]], "", "- namespace\nvpc-1 namespace\n")) == [vpc]
    assert drift.faults_of(observed([WELL[0]], "", "- namespace\n")) == []
