"""News that can wait are sent at once when little was sent before, together when much was, and never lost."""

from stead_controller.desired.changes import TopicNews
from stead_controller.desired.coalescing import DelayedUpdates, joined


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def news(*pieces):
    return TopicNews("vpc-1", {(5, name): content for name, content in pieces})


def test_the_first_news_are_due_at_once():
    delayed = DelayedUpdates(Clock())
    assert delayed.due_in() is None
    delayed.add(["h-1"], news(("a", b"1")))
    assert delayed.due_in() == 0


def test_the_pause_grows_with_what_was_sent_and_ends():
    clock = Clock()
    delayed = DelayedUpdates(clock)
    delayed.add([f"h-{number}" for number in range(40)], news(("a", b"1")))
    delayed.take_all()
    assert delayed.due_in() is None  # nothing waits
    delayed.add(["h-1"], news(("b", b"2")))
    assert 0.1 < delayed.due_in() <= 0.5
    clock.now += 0.5
    assert delayed.due_in() == 0
    delayed.add([f"h-{number}" for number in range(1000)], news(("a", b"1")))
    delayed.take_all()
    delayed.add(["h-1"], news(("b", b"2")))
    assert 2.0 < delayed.due_in() <= 3.0  # however many they are


def test_each_host_gets_what_waits_for_it_once():
    delayed = DelayedUpdates(Clock())
    one, other = news(("a", b"1")), news(("b", b"2"))
    delayed.add(["h-1", "h-2"], one)
    delayed.add(["h-1"], other)
    assert list(delayed.take("h-1")) == [one, other]
    assert list(delayed.take("h-1")) == []
    assert delayed.take_all() == {"h-2": [one]}
    assert delayed.due_in() is None


def test_of_each_part_only_the_last_word_is_said():
    updates = [news(("a", b"1"), ("b", b"1")), news(("a", b"2")), TopicNews("vpc-1", {(6, "a"): b"3"})]
    assert sorted(joined(updates)) == [b"1", b"2", b"3"]
