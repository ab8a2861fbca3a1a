"""What one database of a test process has compiled, another one need not compile."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.sql.compiler import SQLCompiler

from stead_controller.db.session import Database
from stead_controller.db.tables import Account
from tests.support import empty_database


def test_a_statement_is_compiled_once_for_all_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[int] = []
    compile_select: Any = SQLCompiler.visit_select

    def counted(*given: Any, **named: Any) -> Any:
        compiled.append(1)
        return compile_select(*given, **named)

    monkeypatch.setattr(SQLCompiler, "visit_select", counted)
    query = select(Account.name.label("of_this_test")).where(Account.id == "1")
    for number in range(3):
        file = empty_database.write(tmp_path / f"{number}.sqlite", of_program=True)
        database = Database(f"sqlite:///{file}")
        for writes in (False, True):
            assert database.run_blocking(lambda tx: tx.session.scalars(query).all(), writes=writes) == []
        database.close()
    assert len(compiled) == 1
