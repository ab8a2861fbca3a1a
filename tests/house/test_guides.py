"""What pages for readers name is there: commands of `stead` with their options, files and folders."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from stead_cli.__main__ import cli
from tests.house.checkout import ROOT, complain, name_of, our_files, text_of

_BY_THE_LAUNCHER: Final = {"test"}  # its arguments are pytest's
_PLACES: Final = ("", "controller/stead_controller", "agent/stead_agent", "cli/stead_cli", "proto/stead_proto", "tests")
_SUFFIXES: Final = r"(?:py|md|proto|tf|yml|sh|mjs|rb|svg|json|toml)"
_PATH: Final = re.compile(rf"^[\w.*-]+(?:/[\w.*-]+)*/[\w.*-]*$|^[\w.*/-]+\.{_SUFFIXES}$|^[\w.-]+/$")
_GUIDE_LINES: Final = 60

# Not of the checkout but of a cloud's state directory, where these pages say so.
_OF_THE_STATE: Final = re.compile(
    r"^(?:agent/(?:disks|flow-logs)|controller/(?:audit|blocks|ca|exchange/ACCOUNT|master\.key|metrics|object-store|oidc)|log/)$"
)


def _pages() -> list[Path]:
    """Pages that people read from the outside: not the READMEs of the code's own folders."""
    return [
        path
        for path in our_files()
        if path.suffix == ".md" and (path.parent == ROOT or path.relative_to(ROOT).parts[0] in {"docs", "examples"})
    ]


def _code(text: str) -> Iterator[str]:
    """All that stands in backticks or, indented, as lines to be typed."""
    for line in text.splitlines():
        if line.startswith("    "):
            yield line.strip()
        else:
            yield from re.findall(r"`([^`]+)`", line)


def _commands(code: str) -> Iterator[str]:
    """Each call of `./stead` in it, up to what ends a command in a shell."""
    for found in re.finditer(r"(?:^|[\s(`/])(?:\./)?stead (?=[a-z-])((?:[^;&|)#`\"]|\"[^\"]*\")*)", code):
        yield found[1].strip()


def _fault_of(command: str) -> str:
    """What the command line has not got of a command; nothing where all is there."""
    try:
        words = shlex.split(command)
    except ValueError:
        return "cannot be read"
    found: click.Command = cli
    with click.Context(cli) as context:
        while words and isinstance(found, click.Group):
            if words[0].startswith("-"):
                break
            step = found.get_command(context, words.pop(0))
            if step is None:
                return "there is no such command"
            found = step
    if found.name in _BY_THE_LAUNCHER:
        return ""
    known = {"--help", "-h"}.union(*(each.opts + each.secondary_opts for each in found.params))
    for word in words:
        if found.name == "exec" and not word.startswith("-"):
            break  # what follows is another program's
        if word.startswith("-") and word.partition("=")[0] not in known:
            return f"it has no {word}"
    return ""


def test_commands_of_stead_are_as_pages_name_them() -> None:
    offences, count = [], 0
    for page in _pages():
        for code in _code(text_of(page) or ""):
            for command in _commands(code):
                count += 1
                fault = _fault_of(command)
                if fault:
                    offences.append(f"{name_of(page)}: `stead {command}`: {fault}")
    assert count > 60
    complain("A reader types what a page says:", offences)


def test_what_is_no_command_is_noticed() -> None:
    assert _fault_of("up --image debian") == ""
    assert _fault_of("up --images debian")
    assert _fault_of("net explore")
    assert _fault_of("account --nothing")
    assert _fault_of("rig exec host-2 ls -l") == ""
    assert list(_commands('eval "$(./stead rig env)"; ./stead status && stead host list # all')) == [
        "rig env",
        "status",
        "host list",
    ]


def _is_there(page: Path, name: str) -> bool:
    """Look from the page, the top and each program; a name without a folder may be that of any file of its kind."""
    if "/" not in name:
        return (page.parent / name).exists() or name in {path.name for path in our_files()}
    return any(any(folder.glob(name.rstrip("/"))) for folder in (page.parent, *(ROOT / place for place in _PLACES)))


def _paths(text: str) -> Iterator[str]:
    """Paths in backticks that begin with a folder of ours or end as our files do, and links."""
    for code in re.findall(r"`([^`\s]+)`", text):
        first, slash, _ = code.partition("/")
        ours = any((ROOT / place / first).is_dir() for place in _PLACES)
        if (
            _PATH.match(code)
            and (ours or not slash or code.endswith("/"))
            and first != "."
            and not _OF_THE_STATE.match(code)
        ):
            yield code
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in target:
            yield target


def test_paths_are_as_pages_name_them() -> None:
    offences, count = [], 0
    readmes = {path for path in our_files() if path.name == "README.md" and "releases" not in path.parts}
    for page in sorted(readmes.union(_pages())):
        for name in _paths(text_of(page) or ""):
            count += 1
            if not _is_there(page, name):
                offences.append(f"{name_of(page)}: {name}")
    assert count > 600
    complain("A reader follows what a page says; these are not there:", offences)


def test_what_is_no_path_is_noticed() -> None:
    page = ROOT / "docs/README.md"
    text = "`docs/nothing.md`, `aws/app.py`, `use/`, `GROUP/THINPOOL`, `controller/blocks`, [here](nowhere.md)"
    assert list(_paths(text)) == ["docs/nothing.md", "aws/app.py", "use/", "nowhere.md"]
    assert [_is_there(page, name) for name in _paths(text)] == [False, True, True, False]


def test_the_tour_is_explained_in_its_order() -> None:
    """`tests/e2e/test_readme.py` runs the README's lines; the first guide has the same ones."""
    [tour] = re.findall(
        r"^## A first tour\n(.*?)^## ", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    lines = [line for line in tour.splitlines() if line.startswith("    ")]
    guide = (ROOT / "docs/use/first-vm.md").read_text("utf-8").splitlines()
    assert len(lines) <= 12
    assert [line for line in guide if line in lines] == lines


def test_guides_are_short() -> None:
    long = [
        f"{name_of(page)}: {lines} lines"
        for page in sorted((ROOT / "docs/use").glob("*.md"))
        if (lines := len(page.read_text("utf-8").splitlines())) > _GUIDE_LINES
    ]
    complain(f"A guide is read at one sitting, in at most {_GUIDE_LINES} lines:", long)
