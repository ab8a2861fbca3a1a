"""A database around another one has all that a database has, and leaves it to the other one."""

import inspect
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest

from stead_controller.db.answered import Answered
from stead_controller.db.membership import Fenced
from stead_controller.db.session import Database

_AROUND: list[Callable[[Database], Database]] = [
    lambda inner: Answered(inner, 5.0),
    lambda inner: Fenced(inner, lambda: lambda _tx: None),
]
_ITS_OWN = {name: what for name, what in vars(Database).items() if not name.startswith("_")}
_METHODS = sorted(name for name, what in _ITS_OWN.items() if inspect.isfunction(what))


@pytest.fixture
def inner() -> Mock:
    made = create_autospec(Database, instance=True)
    made.engine, made.id, made.refused = object(), "the other one's", 7
    return made


def _given(method: str) -> dict[str, Any]:
    """Return something else for each parameter of a method than what it has without being given it."""
    parameters = list(inspect.signature(_ITS_OWN[method]).parameters.values())[1:]
    return {each.name: _other(each.default, each.name) for each in parameters}


def _other(default: object, name: str) -> object:
    if isinstance(default, bool):
        return not default
    return 3.0 if isinstance(default, float) else f"some {name}"


@pytest.mark.parametrize("around", _AROUND)
@pytest.mark.parametrize("method", _METHODS)
async def test_each_method_is_left_to_it_with_all_that_is_given(
    inner: Mock, around: Callable[[Database], Database], method: str
) -> None:
    given = _given(method)
    answer = getattr(around(inner), method)(**given)
    if inspect.isawaitable(answer):
        answer = await answer
    asked = getattr(inner, method)
    asked.assert_called_once()
    called = inspect.signature(_ITS_OWN[method]).bind(None, *asked.call_args.args, **asked.call_args.kwargs).arguments
    called.pop("self")
    assert called == given  # of functions one that only reads, which nobody changes
    says_nothing = inspect.signature(_ITS_OWN[method]).return_annotation is None
    assert answer is (None if says_nothing else asked.return_value)


@pytest.mark.parametrize("around", _AROUND)
def test_all_else_is_the_other_ones(inner: Mock, around: Callable[[Database], Database], tmp_path: Path) -> None:
    made = around(inner)
    with closing(Database(f"sqlite:///{tmp_path / 'd.sqlite'}")) as database:
        others = {name for name in dir(database) if not name.startswith("_")} - set(_METHODS)
    assert others
    for name in others:
        assert getattr(made, name) is getattr(inner, name)
