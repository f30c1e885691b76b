"""Replacing lines: what matches, what is kept, and what the agent is told when it does not match."""

from __future__ import annotations

import pytest

from forager.edits import EditError, replace_lines


def edited(content: bytes, search: str, replace: str) -> bytes:
    return replace_lines(content, search, replace).content


@pytest.mark.parametrize(
    ("content", "search", "replace", "expected"),
    [
        (b"a\nb\nc\n", "b", "B", b"a\nB\nc\n"),
        (b"a\nb\nc\n", "b\n", "B\n", b"a\nB\nc\n"),
        (b"a\nb\nc\n", "a\nb\n", "x", b"x\nc\n"),
        (b"a\nb\nc\n", "b", "", b"a\nc\n"),
        (b"a\nb\nc\n", "b", "\n", b"a\n\nc\n"),
        (b"a\nb", "b", "B", b"a\nB"),  # no newline at the end, before and after
        (b"a\nb", "b", "B\nC", b"a\nB\nC"),
        (b"a\nb", "b", "", b"a"),
        (b"a", "a", "", b""),
        (b"a\n", "a", "", b""),
        (b"a\n\nb\n", "a\n\nb", "x", b"x\n"),
        (b"b\n\n", "b\n\n", "c", b"c\n"),
        (b"  a\n", "  a", "    a", b"    a\n"),
        (b"a\r\nb\r\nc\r\n", "b", "x\ny", b"a\r\nx\r\ny\r\nc\r\n"),  # the file's line ends stay
        (b"a\r\nb", "b", "x\ny", b"a\r\nx\ny"),
        (b"a\r\nb\r\n", "a\r\nb", "x", b"x\r\n"),
        (b"\xef\xbb\xbfa\nb\n", "a", "x", b"\xef\xbb\xbfx\nb\n"),  # a byte order mark is not part of the line
        ("é\nb\n".encode("latin-1"), "b", "ü", "é\nü\n".encode("latin-1")),
        ("\ufeffa\nb\n".encode("utf-16-le"), "b", "ü", "\ufeffa\nü\n".encode("utf-16-le")),
        (b"a\x0cb\nc\x0bd\n\xe2\x80\xa8e\n", "c\x0bd", "x", b"a\x0cb\nx\n\xe2\x80\xa8e\n"),  # only \n ends a line
    ],
)
def test_whole_lines_are_replaced_and_all_else_stays(
    content: bytes, search: str, replace: str, expected: bytes
) -> None:
    assert edited(content, search, replace) == expected


def test_the_new_lines_are_shown_with_their_numbers() -> None:
    result = replace_lines(b"a\nb\nc\n", "b", "x\ny")
    assert (result.first, result.lines) == (2, ["x", "y"])


@pytest.mark.parametrize(
    ("content", "search", "told"),
    [
        (b"a\nb\na\n", "a", "found 2 times, at lines 1, 3"),
        (b"    x = 1\n", "x = 1", r"lines 1-1 differ from it in white space only:\n     1\t    x = 1"),
        (b"def f():\n\treturn 1\n", "def f():\n    return 1", "lines 1-2 differ from it in white space only"),
        (b"x = compute(1)\n", "compute(1)", "only a part of line 1"),
        (b"a\nvalue = other(1)\nb\n", "value = othr(1)", r"closest is at lines 2-2:\n     2\tvalue = other"),
        (b"a\n", "zzzzz", "^search was not found$"),
        (b"a\n", "", "search is empty"),
        (b"a\n", "\n", "search is empty"),
        (b"a\n", "a", "nothing would change"),
        (b"a\0b\n", "a", "binary"),
        ("é\n".encode("latin-1"), "é", "cannot be written in this file's encoding"),
    ],
)
def test_a_refusal_says_what_to_do(content: bytes, search: str, told: str) -> None:
    replace = search if "change" in told else "→"
    with pytest.raises(EditError, match=told):
        replace_lines(content, search, replace)
