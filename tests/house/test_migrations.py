"""The revisions of the database are one line: with two ends no controller starts."""

import re
from pathlib import Path

from tests.house.checkout import ROOT

_VERSIONS: Path = ROOT / "controller" / "stead_controller" / "db" / "migrations" / "versions"
_REVISION = re.compile(r'^(?P<name>(?:down_)?revision)\b.*= "(?P<id>\w+)"', re.MULTILINE)


def test_revisions_are_one_line() -> None:
    found = [
        match.groupdict() for path in sorted(_VERSIONS.glob("*.py")) for match in _REVISION.finditer(path.read_text())
    ]
    after = [one["id"] for one in found if one["name"] == "down_revision"]
    ends = {one["id"] for one in found if one["name"] == "revision"} - set(after)
    twice = {one for one in after if after.count(one) > 1}
    assert len(ends) == 1, f"Let the newest revision follow the other ({', '.join(sorted(ends))}); forks at {twice}"
