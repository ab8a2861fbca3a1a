"""docs/architecture.md draws the imports as they are now."""

from tests.support.architecture_page import PAGE, write


def test_the_diagrams_are_fresh() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("```mermaid") == 3
    assert page == write(page), "draw them again: python -m tests.support.architecture_page"
