"""Names that say where to look, and READMEs where a newcomer enters."""

import re

from tests.house.checkout import ROOT, TOP_FOLDERS, complain, name_of, our_files, text_of

# A name that fits everything attracts everything, until nobody finds anything in it.
_EMPTY_WORDS = re.compile(r"(?:^|_)(?:utils?|common|managers?|helpers?|misc|stuff)(?:_|$)")

# Paths that exist on one person's machine only.
_PERSONAL_PATH = re.compile(
    r"(?<![\w.])/(?:home|Users)/(?!\$|ec2-user|admin|user\b|[{<])[a-z][\w-]+/|(?<![\w.])/work/|/root/[a-z]"
)

README_LINES = 120


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


def test_nobody_is_told_to_use_sudo() -> None:
    offences = []
    for path in our_files():
        for number, line in enumerate((text_of(path) or "").splitlines(), 1):
            if re.search(r"sudo (?:-\w+ )?(?:\./stead|\.venv|apt)", line) and path.name != "test_names.py":
                offences.append(f"{name_of(path)}:{number}: {line.strip()[:120]}")
    complain("A bare machine has no sudo; ./stead calls it where it is, for all else say `as root`:", offences)


def test_each_top_folder_has_a_readme() -> None:
    offences = []
    for folder in (ROOT, *(ROOT / name for name in TOP_FOLDERS)):
        if folder.is_dir() and any(folder.iterdir()):
            readme = folder / "README.md"
            if not readme.is_file():
                offences.append(f"{folder.name}/README.md is missing")
            elif len(readme.read_text(encoding="utf-8").splitlines()) > README_LINES:
                offences.append(f"{name_of(readme)} is longer than {README_LINES} lines")
    complain("Whoever opens a folder must learn on one page what is in it and who may call whom:", offences)


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
