"""What the launcher installs is pinned to versions and to the hashes of their files."""

import re
import tomllib

from tests.house.checkout import ROOT, complain

_PIN = re.compile(r"^([a-z0-9._-]+)==\S+ \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def test_each_version_has_the_hashes_of_its_files() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    rest = [line for line in _PIN.sub("", text).splitlines() if line and not line.startswith("#")]
    complain("A version without hashes may be any bytes of that name (tests/README.md says how to renew):", rest)


def test_all_that_is_named_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(one for extra in project["project"]["optional-dependencies"].values() for one in extra),
    ]
    pinned = {match[1] for match in _PIN.finditer((ROOT / "constraints.txt").read_text(encoding="utf-8"))}
    wanted = {re.split(r"[\[<>=!~; ]", one)[0].lower().replace("_", "-") for one in named}
    complain("pyproject.toml names these, constraints.txt does not pin them:", sorted(wanted - pinned - {"stead"}))
    assert "uv" in pinned, "the launcher installs it first, from its lines alone"
