"""Texts for the terminal. Data and models may have written them: what a terminal would obey is not printed."""

from __future__ import annotations

from rlsp.cli.progress import console


def say(text: str) -> None:
    """A line of text that may hold anything."""
    console.print(clean(text), markup=False, highlight=False, emoji=False, soft_wrap=True)


def say_if(text: str) -> None:
    """A line of text, if there is any."""
    if text:
        say(text)


def clean(text: str) -> str:
    """One line, without control characters."""
    return "".join(each if each.isprintable() else "�" for each in text)


def clean_lines(text: str) -> str:
    """The lines that they are, without other control characters."""
    return "\n".join(map(clean, text.split("\n")))


def paragraph(text: str) -> str:
    """The lines that hold anything, without other control characters."""
    return "\n".join(line for line in clean_lines(text).split("\n") if line.strip())


def head(text: str, length: int) -> str:
    """The beginning, on one line of at most `length` characters."""
    line = clean(" ".join(text.split()))
    return line if len(line) <= length else line[: length - 2] + " …"


def tail(text: str, length: int) -> str:
    """The end, on one line of at most `length` characters."""
    line = clean(" ".join(text.split()))
    return line if len(line) <= length else "… " + line[2 - length :]
