"""docs/operations.md says what is built, as it is now."""

from tests.support.operations_page import PAGE, write


def test_the_page_is_fresh() -> None:
    written = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    assert written == write(), "write it again: python -m tests.support.operations_page"
