"""The machine's own apt configuration becomes source lines for another system: Debian's, signed, by http(s) only.

What is of this machine alone (local folders, unsigned and foreign repositories) is left out.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from images.packages import ImageBuildError, run

_FIELDS = ("REPO_URI", "RELEASE", "CODENAME", "COMPONENT", "SIGNED_BY", "FILENAME")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.pgp"
_OPTIONS_THAT_TRAVEL = ("Acquire::Check-Valid-Until", "Acquire::Check-Date")


@dataclass(frozen=True)
class AptSource:
    """One component of one suite, as apt knows it here; ``packages_file`` is where its list is, fetched or not."""

    uri: str
    suite: str
    component: str
    keyring: str
    packages_file: Path

    @property
    def line(self) -> str:
        """The source as a line of sources.list."""
        return f"deb [signed-by={self.keyring}] {self.uri} {self.suite} {self.component}"


def find_sources(release: str) -> list[AptSource]:
    """Return this machine's sources of a Debian release, its updates and its security suite.

    Fetches the lists of packages when some of these are missing: apt knows a source only by its list. Raise
    ImageBuildError when the release itself or its security suite is not among them then.
    """
    sources = _known_sources(release)
    if _missing(sources, release):
        run(["apt-get", "update", "-qq"])
        sources = _known_sources(release)
    for suite in _missing(sources, release):
        raise ImageBuildError(f"apt on this machine has no signed http(s) source of {suite}: add one, apt-get update")
    return sources


def _known_sources(release: str) -> list[AptSource]:
    shown = run(["apt-get", "indextargets", "--format", "|".join(f"$({name})" for name in _FIELDS), _PACKAGES])
    return choose_sources(shown.splitlines(), release)


def _missing(sources: Sequence[AptSource], release: str) -> list[str]:
    """List the suites without which nothing is built, those of the sources left out."""
    known = {source.suite for source in sources}
    return [suite for suite in (release, f"{release}-security") if suite not in known]


_PACKAGES = "Created-By: Packages"


def choose_sources(targets: Iterable[str], release: str) -> list[AptSource]:
    """Turn lines of ``apt-get indextargets`` into the sources of a release that may be used elsewhere."""
    suites = {release, f"{release}-updates", f"{release}-security"}
    chosen: dict[str, AptSource] = {}
    for target in targets:
        values = dict(zip(_FIELDS, ("" if "$(" in value else value for value in target.split("|")), strict=True))
        suite = values["CODENAME"] if values["CODENAME"] in suites else values["RELEASE"]
        if suite in suites and re.match(r"https?://", values["REPO_URI"]):
            source = AptSource(
                values["REPO_URI"],
                suite,
                values["COMPONENT"],
                values["SIGNED_BY"] or _KEYRING,
                Path(values["FILENAME"]),
            )
            chosen.setdefault(source.line, source)
    return list(chosen.values())


def newest_date(sources: Sequence[AptSource], otherwise: int) -> int:
    """Return when the newest of the sources' lists was published (seconds since 1970), ``otherwise`` if none is here.

    No package in them is younger, so it can stand for all time stamps of an image made from them.
    """
    dates: list[datetime] = []
    for source in sources:
        name = source.packages_file.name.split(f"_{source.component}_binary-")[0]
        release = source.packages_file.with_name(f"{name}_InRelease")
        if release.exists():
            found = re.search(r"^Date: (.*)$", release.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
            if found:
                dates.append(parsedate_to_datetime(found[1].replace("UTC", "+0000")))
    return int(max(dates).astimezone(UTC).timestamp()) if dates else otherwise


def travelling_options() -> list[str]:
    """Return apt options of this machine without which its sources may not be read elsewhere, as lines of apt.conf."""
    dump = run(["apt-config", "dump"]).splitlines()
    return [line for line in dump if line.split(" ")[0] in _OPTIONS_THAT_TRAVEL]
