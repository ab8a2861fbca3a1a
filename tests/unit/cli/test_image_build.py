"""Building guest images: what the build tells, and what is made of its errors."""

import sys
from pathlib import Path

import pytest

from stead_cli import image_build
from stead_cli.errors import CliError
from stead_cli.settings import Settings

BUILD = """
import json, pathlib, sys
output = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
print(json.dumps({"image": "micro", "seconds": 0.5, "step": "packages"}), flush=True)
{rest}
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose images/micro/build.py is yet to be written; it needs no packages."""
    (tmp_path / "images" / "micro").mkdir(parents=True)
    monkeypatch.setattr(image_build, "FILES", tmp_path)
    monkeypatch.setattr(image_build, "_install_packages", lambda _kind, _say: None)
    return tmp_path


def write_build(checkout: Path, rest: str) -> None:
    (checkout / "images" / "micro" / "build.py").write_text(BUILD.replace("{rest}", rest))


def test_built_once_per_recipe(checkout: Path) -> None:
    settings = Settings(checkout / "state")
    lines: list[str] = []
    write_build(checkout, "output.write_bytes(b'one')")
    first = image_build.build(settings, "micro", lines.append)
    assert first.name == f"stead-micro-{first.sha256[:12]}"
    assert lines == ["  0.5 s  packages"]
    image_build.build(settings, "micro", lines.append)
    assert len(lines) == 1

    # Another recipe, and `again`, build anew.
    write_build(checkout, "output.write_bytes(b'two')")
    assert image_build.build(settings, "micro", lines.append).sha256 != first.sha256
    image_build.build(settings, "micro", lines.append, again=True)
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ('print(json.dumps({"image": "micro", "seconds": 1, "error": "no mirror"})); sys.exit(1)', "no mirror"),
        ('raise RuntimeError("not foreseen")', "not foreseen"),
    ],
)
def test_a_failed_build_says_why_and_is_not_taken_for_built(checkout: Path, rest: str, said: str) -> None:
    settings = Settings(checkout / "state")
    write_build(checkout, rest)
    for _ in range(2):
        with pytest.raises(CliError, match=said):
            image_build.build(settings, "micro", lambda _line: None)


def test_a_long_error_is_shortened_in_the_middle() -> None:
    shown = image_build._shortened("\n".join(["what failed", *map(str, range(100)), "x" * 1000])).splitlines()
    assert shown[0] == "what failed"
    assert len(shown) < 20
    assert max(map(len, shown)) < 400


def test_python_of_this_environment_runs_the_build(checkout: Path) -> None:
    write_build(checkout, "output.write_text(sys.executable)")
    built = image_build.build(Settings(checkout / "state"), "micro", lambda _line: None)
    assert built.path.read_text() == sys.executable
