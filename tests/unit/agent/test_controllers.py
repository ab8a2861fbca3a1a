from pathlib import Path

from stead_agent.controllers import Controllers


def test_those_told_of_come_before_those_of_the_settings() -> None:
    known = Controllers(("a:1", "b:1"))
    assert known.learn(["c:1", "b:1"])
    assert list(known) == ["c:1", "b:1", "a:1"]
    assert (len(known), known[0], known[1:]) == (3, "c:1", ("b:1", "a:1"))


def test_the_same_again_and_nothing_is_no_news() -> None:
    known = Controllers(("a:1",))
    assert known.learn(["b:1"])
    assert not known.learn(["b:1"])
    assert not known.learn([])
    assert list(known) == ["b:1", "a:1"]


def test_the_next_one_is_tried_each_once() -> None:
    known = Controllers(("a:1", "b:1", "c:1"))
    assert [known.after(each) for each in ("a:1", "b:1", "c:1")] == ["b:1", "c:1", "a:1"]
    assert known.after("gone:1") == "a:1"


def test_they_are_known_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "controllers"
    Controllers(("a:1",), file).learn(["b:1", "c:1"])
    assert list(Controllers(("a:1",), file)) == ["b:1", "c:1", "a:1"]
    file.write_text("{", encoding="ascii")
    assert list(Controllers(("a:1",), file)) == ["a:1"]
