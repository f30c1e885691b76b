"""Near-duplicate tasks are found, whatever their place; different ones are left alone."""

from __future__ import annotations

import random
from itertools import combinations

from forager.forage.alike import THRESHOLD, Alike, alike, look_at
from forager.forage.diffs import unified
from forager.records import Task

BODY = "".join(f"    value_{n} = compute_{n}(value, {n})\n" for n in range(12))
SOURCE = (
    f"def first(value):\n{BODY}    return value\n\n\ndef second(text):\n    return text.strip().lower()\n".encode()
)


def task(name: str, old: bytes, new: bytes, path: str = "a.py", source: bytes = SOURCE, said: str = "") -> Task:
    return Task(
        instance_id=name,
        repo="a",
        problem_statement=said or f"Task {name} is told in words of its own: {old!r} {new!r}",
        patch=unified(path, source.replace(old, new), source),
    )


def test_the_same_change_elsewhere_is_a_near_duplicate() -> None:
    seen = Alike([task("one", b"compute_5", b"compute_6")])
    moved = b"import os\n\n\n" + SOURCE
    assert seen.add(task("two", b"compute_5", b"compute_6", "vendor/b.py", moved)) == "one"
    assert seen.add(task("three", b".lower()", b"")) == ""
    assert seen.add(task("one", b"compute_5", b"compute_6")) == "", "the same task again"


def test_another_bug_at_the_same_place_is_one_too() -> None:
    seen = Alike([task("one", b"compute_5(value, 5)", b"compute_5(value, 6)")])
    assert seen.add(task("two", b"compute_5(value, 5)", b"compute_5(value, 4)")) == "one"


def test_tasks_seen_elsewhere_count_and_refused_ones_are_left_out() -> None:
    elsewhere = Alike([task("one", b"compute_5", b"compute_6")])
    seen = Alike(beside=elsewhere, refused={"three"})
    assert seen.add(task("two", b"compute_5", b"compute_7")) == "one"
    assert seen.add(task("three", b".lower()", b"")) == "three"
    assert seen.add(task("four", b".lower()", b"")) == ""
    assert seen.add(task("one", b"compute_5", b"compute_6")) == "", "the same task again"
    assert "four" not in elsewhere


def test_a_file_of_an_earlier_version_may_hold_near_duplicates() -> None:
    seen = Alike([task("one", b"compute_5", b"compute_6"), task("two", b"compute_5", b"compute_7")])
    assert "two" in seen
    assert seen.add(task("two", b"compute_5", b"compute_7")) == ""


def test_different_places_with_the_same_words_are_not() -> None:
    said = "wrong behaviour of the package; find the cause and fix it there, without breaking what works"
    one = task("one", b"compute_2(value, 2)", b"compute_2(2, value)", said=said)
    two = task("two", b"text.strip()", b"text", said=said)
    assert alike(look_at(one), look_at(two)) < 0.6
    assert Alike([one]).add(two) == ""


def test_none_is_missed_among_many() -> None:
    chance = random.Random(7)
    words = [f"word{n}" for n in range(60)]
    tasks = []
    for number in range(300):
        text = list(words)
        for _ in range(chance.randrange(5)):
            text[chance.randrange(60)] = f"other{number}"
        said = f"statement {number % 3} in words that only some have, others not {number % 3}"
        tasks.append(Task(instance_id=str(number), repo="a", problem_statement=said, patch="+" + " ".join(text)))
    seen = Alike()
    kept = [task for task in tasks if not seen.add(task)]
    looks = [look_at(task) for task in kept]
    assert 3 < len(kept) < 290
    assert all(alike(one, other) < THRESHOLD for one, other in combinations(looks, 2))
