"""The revisions of the database are one line: with two ends no controller starts."""

import re
from collections.abc import Mapping
from pathlib import Path

from stead_controller.db import schema
from stead_controller.db.tables import Base
from tests.house.checkout import ROOT, complain

_VERSIONS: Path = ROOT / "controller" / "stead_controller" / "db" / "migrations" / "versions"
_REVISION = re.compile(r'^(?P<name>(?:down_)?revision) = "(?P<id>\w+)"$', re.MULTILINE)  # as `db/schema.py` reads it


def test_each_revision_is_read_without_alembic() -> None:
    """A revision that is written in another way is not seen by a controller that starts, which then does not."""
    complain(
        'Write `revision = "…"` and `down_revision = "…"`, without types, as `db/schema.py` reads them:',
        [path.name for path in sorted(_VERSIONS.glob("*.py")) if "revision = " not in _names(path)],
    )


def _names(path: Path) -> set[str]:
    return {f"{match['name']} = " for match in _REVISION.finditer(path.read_text())}


def test_revisions_are_one_line() -> None:
    found = [
        match.groupdict() for path in sorted(_VERSIONS.glob("*.py")) for match in _REVISION.finditer(path.read_text())
    ]
    after = [one["id"] for one in found if one["name"] == "down_revision"]
    ends = {one["id"] for one in found if one["name"] == "revision"} - set(after)
    twice = {one for one in after if after.count(one) > 1}
    assert len(ends) == 1, f"Let the newest revision follow the other ({', '.join(sorted(ends))}); forks at {twice}"
    assert ends == {schema.newest()}, "Write `revision = …` without a type, as db/schema.py reads it"


_IN_ORDER = "e4b87a20c5d3"  # the first after which each account's index is the last of its table
_MADE_ANEW = re.compile(r"""batch_alter_table\(\s*"(\w+)"|create_index\(\s*[^,]+,\s*"(\w+)\"""")
_OF_ACCOUNTS = {
    name
    for name, table in Base.metadata.tables.items()
    if f"ix_{name}_account_id_id" in {index.name for index in table.indexes}
}


def test_accounts_indexes_stay_the_last_of_their_tables() -> None:
    """A table made anew has its indexes in an order that differs from run to run: a test of one run may miss it."""
    texts = {path.name: path.read_text() for path in sorted(_VERSIONS.glob("*.py"))}
    complain(
        "SQLite finds rows by the index that was made last, and reads other accounts' rows if that is no account's "
        f"(FAULTS 40). Call make_accounts_indexes_last for the table, as {_IN_ORDER} does:",
        _disorders(texts),
    )


def test_a_migration_that_leaves_an_accounts_index_in_any_order_is_noticed() -> None:
    def step(number: int, body: str) -> str:
        return f'revision = "{number}"\ndown_revision = "{_IN_ORDER if number == 1 else number - 1}"\n{body}'

    bodies = [
        'with op.batch_alter_table("subnets", schema=None) as batch_op:',
        'op.create_index("ix_subnets_zone", "subnets", ["zone"])',
        'with op.batch_alter_table("subnets", schema=None) as batch_op:\n    make_accounts_indexes_last("subnets")',
        'with op.batch_alter_table("workflows", schema=None) as batch_op:',
        'with op.batch_alter_table("subnets") as batch_op:\n    make_accounts_indexes_last("instances")',
    ]
    new = 'op.create_table("volumes")\nop.create_index("ix_volumes_x", "volumes", ["x"])\n'
    of_account = 'op.create_index("ix_volumes_account_id_id", "volumes", ["account_id", "id"])\n'
    bodies += [new + of_account, new, of_account]
    texts = {f"{number}.py": step(number, body) for number, body in enumerate(bodies, 1)}
    texts["old.py"] = f'revision = "{_IN_ORDER}"\ndown_revision = "0"\nwith op.batch_alter_table("subnets"):'
    assert _disorders(texts) == ["1.py: subnets", "2.py: subnets", "5.py: subnets", "7.py: volumes", "8.py: volumes"]


def _is_new_and_in_order(text: str, table: str) -> bool:
    """Tell whether a step makes a table, and as the last of its indexes the account's."""
    names = re.findall(rf'create_index\(\s*"(\w+)",\s*"{table}"', text)
    return bool(re.search(rf'create_table\(\s*"{table}"', text)) and names[-1:] == [f"ix_{table}_account_id_id"]


def _disorders(texts: Mapping[str, str]) -> list[str]:
    """Name the tables of accounts that later steps change without making the account's index anew, by file."""
    steps = {}
    for name, text in texts.items():
        ids = {match["name"]: match["id"] for match in _REVISION.finditer(text)}
        steps[ids.get("down_revision", "")] = (ids["revision"], name, text)
    found, last = [], _IN_ORDER
    while last in steps:
        last, name, text = steps[last]
        changed = {table for pair in _MADE_ANEW.findall(text) for table in pair if table in _OF_ACCOUNTS}
        found += [
            f"{name}: {table}"
            for table in sorted(changed)
            if f'make_accounts_indexes_last("{table}")' not in text and not _is_new_and_in_order(text, table)
        ]
    return found


def test_a_controller_finds_the_revisions_of_each() -> None:
    """It reads these two lines without Alembic (`db/schema.py`), and starts with no database that it takes for newer."""
    lines = (
        re.compile(r'^revision = "\w+"$', re.MULTILINE),
        re.compile(r'^down_revision = (?:"\w+"|None)$', re.MULTILINE),
    )
    strange = [
        path.name for path in sorted(_VERSIONS.glob("*.py")) if not all(one.search(path.read_text()) for one in lines)
    ]
    assert not strange, f"write `revision = …` and `down_revision = …` without types, as the others do: {strange}"
