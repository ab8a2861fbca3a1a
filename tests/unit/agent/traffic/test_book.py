"""Readings of the kernel's counters become sums, in which each byte is once, whatever ends in between."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.traffic.book import Book
from stead_agent.traffic.interface import Counter, Sum, Sums, Way
from stead_agent.traffic.kept import KeptTraffic

OUT, IN, HOST = Way.TO_INTERNET, Way.FROM_INTERNET, Way.TO_HOST
A, B = "10.0.0.5", "10.0.0.6"
NOBODY: dict[str, frozenset[str]] = {}


def book(**owners: dict[str, str]) -> Book:
    return Book("e", "boot", owners=owners)


def sums(found: Book) -> dict[tuple[str, Way, str], int]:
    return {one[:3]: one.total for one in found.shown().sums}


def test_what_passed_is_added_to_who_has_the_address() -> None:
    mine = book(v={A: "i-1", B: "nat-1"})
    reading = {Counter(OUT, A): 5, Counter(IN, A): 7, Counter(OUT, B): 9, Counter(IN, B): 11, Counter(HOST, A, "h"): 13}
    assert mine.note("boot", {"v": reading}, NOBODY)
    assert sums(mine) == {("i-1", OUT, ""): 5, ("nat-1", OUT, ""): 9, ("nat-1", IN, ""): 11, ("i-1", HOST, "h"): 13}
    assert not mine.note("boot", {"v": reading}, NOBODY)
    assert mine.note("boot", {"v": {Counter(OUT, A): 8}}, NOBODY)
    assert sums(mine)["i-1", OUT, ""] == 8


def test_what_begins_at_zero_again_adds_all_of_it() -> None:
    mine = book(v={A: "i-1"})
    mine.note("boot", {"v": {Counter(OUT, A): 5}}, NOBODY)
    mine.note("boot", {"v": {Counter(OUT, A): 3}}, NOBODY)
    assert sums(mine) == {("i-1", OUT, ""): 8}
    mine.note("other boot", {"v": {Counter(OUT, A): 4}}, NOBODY)
    assert sums(mine) == {("i-1", OUT, ""): 12}
    mine.end("v")
    mine.note("other boot", {"v": {Counter(OUT, A): 6}}, NOBODY)
    assert sums(mine) == {("i-1", OUT, ""): 18}


def test_an_address_that_nobody_has_yet_is_counted_when_somebody_has() -> None:
    mine = book(v={})
    assert not mine.note("boot", {"v": {Counter(OUT, A): 5}}, NOBODY)
    mine.owners["v"][A] = "i-1"
    assert mine.note("boot", {"v": {Counter(OUT, A): 6}}, NOBODY)
    assert sums(mine) == {("i-1", OUT, ""): 6}


def test_what_a_peer_sends_to_another_host_is_the_peers() -> None:
    mine = book(v={A: "i-1"}, p={B: "i-2"})
    reading = {"p": {Counter(HOST, A, "h"): 5, Counter(HOST, B, "h"): 6, Counter(OUT, A): 7}}
    mine.owners["a"] = {}
    mine.note("boot", reading, {"p": frozenset({"a", "v"})})
    assert sums(mine) == {("i-1", Way.TO_PEER_HOST, "h"): 5, ("i-2", HOST, "h"): 6}


def test_sums_are_dropped_when_they_are_known_and_their_owner_is_gone() -> None:
    mine = book(v={A: "i-1", B: "i-2"})
    mine.note("boot", {"v": {Counter(OUT, A): 5, Counter(OUT, B): 6}}, NOBODY)
    known = mine.shown()
    assert not mine.forget(known), "they are here"
    mine.owners["v"] = {A: "i-1"}
    mine.sums["i-2", OUT, ""] += 1
    assert not mine.forget(known), "more has passed since"
    assert mine.forget(mine.shown())
    assert sums(mine) == {("i-1", OUT, ""): 5}


class Kernel:
    """A host's counters, and its agent, which may be killed."""

    def __init__(self, path: Path) -> None:
        self.path, self.counts, self.boot = path, {}, "boot\n"
        self.start()

    def start(self) -> None:
        self.agent = KeptTraffic(self.path, self.read, boot_id=lambda: self.boot)
        self.agent.own("v", {A: "i-1", B: "i-2"}, frozenset())

    def read(self, vpc_ids: Collection[str] | None) -> Mapping[str, Mapping[tuple[str, str, str], int]]:
        assert vpc_ids in (None, ["v"])
        return {"v": {("to_internet", address, ""): count for address, count in self.counts.items()}}


STEPS = st.lists(
    st.tuples(st.just("send"), st.sampled_from([A, B]), st.integers(1, 9))
    | st.tuples(st.sampled_from(["read", "kill", "leave", "reboot"]), st.none(), st.none())
)


@given(steps=STEPS)
def test_each_byte_counts_once_whatever_ends(
    steps: list[tuple[str, str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A reboot is of a host whose agent has read before: what it had not is lost with the kernel."""
    kernel = Kernel(tmp_path_factory.mktemp("book") / "traffic.json")
    sent = {"i-1": 0, "i-2": 0}
    for what, address, count in steps:
        if what == "send":
            kernel.counts[address] = kernel.counts.get(address, 0) + count
            sent["i-1" if address == A else "i-2"] += count
        elif what == "read":
            kernel.agent.read()
        elif what == "kill":
            kernel.start()
        elif what == "leave":
            kernel.agent.read_last("v")
            kernel.counts = {}
            kernel.agent.own("v", {A: "i-1", B: "i-2"}, frozenset())
        else:
            kernel.agent.read()
            kernel.counts, kernel.boot = {}, f"{kernel.boot}x"
            kernel.start()
    kernel.start()
    assert {one.id: one.total for one in kernel.agent.read().sums} == {owner: n for owner, n in sent.items() if n}


def test_the_book_stays_the_same_and_what_is_known_goes(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path / "traffic.json")
    kernel.counts = {A: 5}
    first = kernel.agent.read()
    kernel.start()
    assert kernel.agent.read() == first == Sums(first.epoch, (Sum("i-1", OUT, "", 5),))
    kernel.agent.read_last("v")
    kernel.agent.told(Sums("another", first.sums))
    assert kernel.agent.read().sums == first.sums
    kernel.agent.told(first)
    assert json.loads(kernel.path.read_text())["sums"] == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"epoch": "a", "boot_id": "", "owners": {}, "seen": 5, "sums": []}'])
def test_a_book_that_cannot_be_read_is_begun_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "traffic.json"
    path.write_text(text)
    kernel = Kernel(path)
    kernel.counts = {A: 5}
    assert [one.total for one in kernel.agent.read().sums] == [5]
    assert len(kernel.agent.read().epoch) == 16


def test_a_disk_that_is_full_loses_nothing(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path / "no" / "traffic.json")
    (tmp_path / "no").write_text("a file")
    kernel.counts = {A: 5}
    assert [one.total for one in kernel.agent.read().sums] == [5]
    kernel.counts = {A: 7}
    assert [one.total for one in kernel.agent.read().sums] == [7]
