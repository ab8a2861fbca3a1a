"""Names that say where to look, and READMEs where a newcomer enters."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.checkout import ROOT, TOP_FOLDERS, complain, name_of, our_files, python_files, text_of

# A name that fits everything attracts everything, until nobody finds anything in it.
_EMPTY_WORDS = re.compile(r"(?:^|_)(?:utils?|common|managers?|helpers?|misc|stuff)(?:_|$)")

# Paths that exist on one person's machine only.
_PERSONAL_PATH = re.compile(
    r"(?<![\w.])/(?:home|Users)/(?!\$|ec2-user|admin|user\b|[{<])[a-z][\w-]+/|(?<![\w.])/work/|/root/[a-z]"
)

README_LINES = 60
README_WORDS = 700
README_LETTERS = 200  # of one line: a table's cell that says all is read by nobody

# README -> the lines and words it may have, and why it is better whole.
LONGER_READMES: dict[str, tuple[int, int, str]] = {
    "agent/stead_agent/network/README.md": (
        80,
        850,
        "a drawing of links, and the order in which the kernel asks rules",
    ),
    "agent/stead_agent/firewall/README.md": (60, 850, "the list of chains in the order in which a packet meets them"),
    "agent/stead_agent/disks/volumes/README.md": (60, 750, "the manual of pools, which has no other page"),
}

# Folders with more Python files than one sees at once have a README, and each one directly in a program has.
PROGRAMS = ("controller/stead_controller", "agent/stead_agent")
FILES_AT_ONCE = 5

# Folders that are lists, one file for each noun or change: the README of the folder above says all.
LISTS = ("aws/ec2/*", "aws/iam", "aws/sts", "aws/authorization/rules", "db/tables", "db/tables/*", "db/migrations/*")


def test_names_say_something() -> None:
    offences = []
    for path in our_files():
        for part in path.relative_to(ROOT).parts:
            if _EMPTY_WORDS.search(part.split(".")[0].lower()):
                offences.append(name_of(path))
                break
    complain(
        "Name files and folders by what they do: such a name fits everything, so it collects everything:", offences
    )


def test_no_path_of_one_machine() -> None:
    offences = []
    for path in our_files():
        for number, line in enumerate((text_of(path) or "").splitlines(), 1):
            if _PERSONAL_PATH.search(line) and path.name != "test_names.py":
                offences.append(f"{name_of(path)}:{number}: {line.strip()[:120]}")
    complain("Stead runs on other people's machines; these paths exist on one only:", offences)


def test_no_text_asks_for_sudo() -> None:
    offences = []
    for path in our_files():
        for number, line in enumerate((text_of(path) or "").splitlines(), 1):
            if re.search(r"sudo (?:-\w+ )?(?:\./stead|\.venv|apt)", line) and path.name != "test_names.py":
                offences.append(f"{name_of(path)}:{number}: {line.strip()[:120]}")
    complain("A bare machine has no sudo; ./stead calls it where it is, for all else say `as root`:", offences)


def _folders_with_readme() -> list[Path]:
    folders = [folder for folder in (ROOT, *(ROOT / name for name in TOP_FOLDERS)) if folder.is_dir()]
    for program in (ROOT / name for name in PROGRAMS):
        lists = {folder for pattern in LISTS for folder in program.glob(pattern)}
        modules = Counter(path.parent for path in python_files() if path.name != "__init__.py")
        for folder, count in sorted(modules.items()):
            if program in folder.parents and folder not in lists:
                folders += [folder] if folder.parent == program or count > FILES_AT_ONCE else []
    return folders


def test_each_folder_that_one_enters_has_a_readme() -> None:
    folders = _folders_with_readme()
    assert len(folders) > 45
    missing = [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "README.md").is_file()]
    complain("Whoever opens a folder must learn on one page what is in it and who may call whom:", missing)


def test_readmes_are_short() -> None:
    offences = []
    for path in our_files():
        if path.name == "README.md":
            lines, words, _ = LONGER_READMES.get(name_of(path), (README_LINES, README_WORDS, ""))
            offences += [f"{name_of(path)}: {fault}" for fault in _lengths(text_of(path) or "", lines, words)]
    complain("A README is read to its end only if that is near; what is long has another page in docs/:", offences)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("three words here\n", 0),
        ("three words here | -- |\n", 0),
        ("and four words now\n", 1),
        ("one\n" * 3, 1),
        ("x" * (README_LETTERS + 1), 1),
        ("one two\n" * 3, 2),
    ],
)
def test_what_is_too_long_is_noticed(text: str, faults: int) -> None:
    assert len(list(_lengths(text, lines=2, words=3))) == faults


def _lengths(text: str, lines: int, words: int) -> Iterator[str]:
    """Say what of a page is longer than it may be; lines and signs of tables are no words."""
    found = len(re.findall(r"\S*\w\S*", text))
    if found > words:
        yield f"{found} words, {words} allowed"
    rows = text.splitlines()
    if len(rows) > lines:
        yield f"{len(rows)} lines, {lines} allowed"
    for number, row in enumerate(rows, 1):
        if len(row) > README_LETTERS:
            yield f"line {number} has {len(row)} letters, {README_LETTERS} allowed"


def test_longer_readmes_are_there() -> None:
    gone = [name for name, (_, _, reason) in LONGER_READMES.items() if not (ROOT / name).is_file() or len(reason) < 20]
    complain("Each exception names something that exists, and says why:", gone)


def test_top_folders_are_known() -> None:
    known = {*TOP_FOLDERS, ".ci"}
    strange = {path.relative_to(ROOT).parts[0] for path in our_files() if len(path.relative_to(ROOT).parts) > 1} - known
    complain("A new top folder is a decision: name it in tests/house/checkout.py and in README.md:", sorted(strange))


def test_the_tests_that_faults_name_are_there() -> None:
    """A file of tests, or one test of a file, as `PATH::TEST`; of what runs by hand only nothing else is asked."""
    table = (ROOT / "tests" / "faults.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", table))
    assert len(named) > 60
    missing = []
    for name, test in sorted(named):
        path = ROOT / "tests" / name
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        of_pytest = "" if name.startswith("bench/") else r"^(?:async )?def test|\.TestCase$"
        if not text or not re.search(rf"^(?:async )?def {test}\(" if test else of_pytest, text, re.MULTILINE):
            missing.append(f"{name}::{test}" if test else name)
    complain("tests/faults.md says which test shows what; these are not there any more:", missing)


def test_each_fault_has_one_row() -> None:
    table = (ROOT / "tests" / "faults.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \| [KAP] \|", table, re.MULTILINE) == [str(number) for number in range(1, 41)]
