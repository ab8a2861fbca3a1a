"""What apt knows on this machine becomes source lines for another: Debian's, signed, by http(s)."""

import dataclasses
from pathlib import Path

import pytest

from images import apt_sources
from images.apt_sources import choose_sources, find_sources, newest_date
from images.packages import ImageBuildError

KEYRING = "/usr/share/keyrings/debian-archive-keyring.pgp"
LISTS = "/var/lib/apt/lists/mirror_debian_dists_trixie"
TRIXIE = f"http://mirror/debian/|trixie|trixie|main|{KEYRING}|{LISTS}_main_binary-amd64_Packages.lz4"


def test_suites_of_the_release_are_taken() -> None:
    (source,) = choose_sources([TRIXIE], "trixie")
    assert source.line == f"deb [signed-by={KEYRING}] http://mirror/debian/ trixie main"


def test_a_suite_named_by_role_is_named_by_release() -> None:
    (source,) = choose_sources([TRIXIE.replace("|trixie|trixie|", "|stable|trixie|")], "trixie")
    assert source.suite == "trixie"


def test_what_is_not_signed_debian_by_http_is_left_out() -> None:
    local = "file:/usr/share/local/|./|$(CODENAME)|$(COMPONENT)|$(SIGNED_BY)|/x"
    foreign = "https://elsewhere/apt/|stable|$(CODENAME)|main|/k.gpg|/x"
    older = TRIXIE.replace("trixie", "bookworm")
    copied = TRIXIE.replace("http:", "file:")
    assert choose_sources([local, foreign, older, copied], "trixie") == []


def test_each_line_comes_once_and_updates_and_security_come_too() -> None:
    targets = [TRIXIE, TRIXIE, TRIXIE.replace("trixie", "trixie-updates"), TRIXIE.replace("trixie", "trixie-security")]
    assert [source.suite for source in choose_sources(targets, "trixie")] == [
        "trixie",
        "trixie-updates",
        "trixie-security",
    ]


def answer_by_apt(monkeypatch: pytest.MonkeyPatch, before: str, after: str) -> list[str]:
    """Let apt know some sources, and others once the lists are fetched; gives what apt was asked for."""
    asked: list[str] = []

    def run(command: list[str]) -> str:
        asked.append(command[1])
        return after if "update" in asked else before

    monkeypatch.setattr(apt_sources, "run", run)
    return asked


def test_lists_that_are_missing_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    both = f"{TRIXIE}\n{TRIXIE.replace('trixie', 'trixie-security')}"
    asked = answer_by_apt(monkeypatch, TRIXIE, both)
    assert [source.suite for source in find_sources("trixie")] == ["trixie", "trixie-security"]
    assert asked == ["indextargets", "update", "indextargets"]
    asked = answer_by_apt(monkeypatch, both, both)
    find_sources("trixie")
    assert asked == ["indextargets"]


def test_a_suite_that_apt_has_not_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_by_apt(monkeypatch, TRIXIE, TRIXIE)
    with pytest.raises(ImageBuildError, match=r"no signed http.*trixie-security"):
        find_sources("trixie")


def test_the_newest_list_gives_the_time(tmp_path: Path) -> None:
    (source,) = choose_sources([TRIXIE], "trixie")
    here = dataclasses.replace(source, packages_file=tmp_path / source.packages_file.name)
    assert newest_date([here], 7) == 7
    release = tmp_path / "mirror_debian_dists_trixie_InRelease"
    release.write_text("Suite: stable\nDate: Sat, 21 Nov 2026 09:15:44 UTC\n", encoding="ascii")
    assert newest_date([here, here], 7) == 1795252544
