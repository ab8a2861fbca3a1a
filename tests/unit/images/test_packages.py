"""apt's words become candidates; the cache answers where apt and the network do not."""

from pathlib import Path

import pytest

from images import packages
from images.packages import Candidate, ImageBuildError, PackageCache, parse_candidates, require_tools

SHOWN = """Package: busybox-static
Version: 1:1.37.0-6+b9
Architecture: amd64
Depends: libc6 (>= 2.41), libcrypt1 | libcrypt2
Description: Standalone rescue shell
 with more words: and colons
SHA256: abc

Package: zlib1g
Version: 1:1.3
Architecture: amd64
"""


def test_apt_cache_show_is_read() -> None:
    first, second = parse_candidates(SHOWN)
    assert first == Candidate("busybox-static", "1:1.37.0-6+b9", "amd64", "abc", ("libc6", "libcrypt1"))
    assert first.file_name == "busybox-static_1%3a1.37.0-6+b9_amd64.deb"
    assert second.depends == ()


def test_nothing_shown_is_nothing() -> None:
    assert parse_candidates("N: Unable to locate package x\n") == []


def test_the_newest_cached_version_answers_for_an_unknown_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "find_candidates", lambda *_: {})
    for version in ("1%3a1.9", "1%3a1.10", "2.0~rc1", "1.99"):
        (tmp_path / f"x_{version}_amd64.deb").write_bytes(b"")
    assert PackageCache(tmp_path).fetch(["x"]) == {"x": tmp_path / "x_1%3a1.10_amd64.deb"}


def test_an_unknown_package_that_is_not_cached_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_candidates", lambda *_: {})
    with pytest.raises(ImageBuildError, match="apt-get update"):
        PackageCache(tmp_path).fetch(["x"])


def test_a_failing_download_falls_back_to_an_older_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise ImageBuildError("no network")

    monkeypatch.setattr(packages, "find_candidates", lambda *_: {"x": Candidate("x", "2", "amd64", "", ())})
    monkeypatch.setattr(packages, "run", fail)
    with pytest.raises(ImageBuildError, match="no network"):
        PackageCache(tmp_path).fetch(["x"])
    (tmp_path / "x_1_amd64.deb").write_bytes(b"")
    assert PackageCache(tmp_path).fetch(["x"]) == {"x": tmp_path / "x_1_amd64.deb"}


def test_missing_tools_are_named_by_package() -> None:
    require_tools({"sh": "dash", "/bin/s*": "dash"})
    with pytest.raises(ImageBuildError, match="apt-get install aaa bbb"):
        require_tools({"no-such-program": "bbb", "/no/such/file": "aaa", "sh": "dash"})
