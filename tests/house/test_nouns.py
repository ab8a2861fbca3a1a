"""A kind of resource has a file of its own in each layer, where its name says."""

from stead_controller.catalog.nouns import NOUNS, Noun
from tests.house.checkout import ROOT, complain

_CONTROLLER = ROOT / "controller" / "stead_controller"


def _several(name: str) -> str:
    return name if name.endswith("options") else f"{name}es" if name.endswith("s") else f"{name}s"


def _files(noun: Noun) -> list[str]:
    name = noun.file or noun.type.replace("-", "_")
    several = _several(name)
    return [
        f"db/tables/{noun.domain}/{name}.py",
        f"resources/{noun.domain}/{several}.py",
        f"aws/ec2/{noun.domain}/{several}.py",
        f"aws/ec2/{noun.domain}/{name}_view.py",
    ]


def test_each_noun_has_its_files() -> None:
    missing = [
        f"{noun.type}: {file}"
        for noun in NOUNS
        if noun.domain
        for file in _files(noun)
        if not (_CONTROLLER / file).is_file()
    ]
    complain("A newcomer looks for a noun by its name in each layer (docs/adding-an-operation.md):", missing)


def test_what_has_rows_and_ids_of_its_own_has_a_domain() -> None:
    """Parts of another noun (rules, associations, tasks) are in that one's files, and say so by having none."""
    parts = {
        "egress-only-internet-gateway",
        "security-group-rule",
        "network-insights-path",
        "network-insights-analysis",
    }
    tasks = {"import-image-task", "import-snapshot-task", "export-image-task"}
    homeless = [noun.type for noun in NOUNS if noun.table is not None and not noun.domain]
    assert sorted(homeless) == sorted(parts | tasks)


def test_types_and_prefixes_are_given_once() -> None:
    types = [noun.type for noun in NOUNS]
    # Users name Dedicated Hosts, and operators hosts.
    prefixes = [noun.prefix for noun in NOUNS if noun.prefix and noun.type != "host"]
    assert len(set(types)) == len(types)
    assert len(set(prefixes)) == len(prefixes)
