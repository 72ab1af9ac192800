"""Texts as tokens: by the model's tokenizer, or by an estimate where the model is not there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

CHARACTERS_PER_TOKEN = 4
"""What an estimated token holds; about right for English text under vocabularies of 50,000 to 150,000."""


class Tokens(Protocol):
    """A tokenizer as the cast needs it; `estimated` says that lengths are guesses. `eos` is no id of a text."""

    @property
    def estimated(self) -> bool: ...

    @property
    def eos(self) -> int: ...

    def encode(self, text: str) -> tuple[int, ...]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class ModelTokens:
    """A Hugging Face tokenizer."""

    estimated = False

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.eos = int(tokenizer.eos_token_id)

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False).input_ids)

    def decode(self, ids: Sequence[int]) -> str:
        decoded = self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(decoded)


class EstimatedTokens:
    """Every `CHARACTERS_PER_TOKEN` characters are a token; equal pieces of text get equal ids.

    >>> tokens = EstimatedTokens()
    >>> tokens.encode("abcdabcde"), tokens.decode((1, 2))
    ((1, 1, 2), 'abcde')
    """

    estimated = True
    eos = 0

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._texts = [""]

    def encode(self, text: str) -> tuple[int, ...]:
        starts = range(0, len(text), CHARACTERS_PER_TOKEN)
        return tuple(self._id(text[start : start + CHARACTERS_PER_TOKEN]) for start in starts)

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self._texts[token] for token in ids)

    def _id(self, piece: str) -> int:
        if piece not in self._ids:
            self._ids[piece] = len(self._texts)
            self._texts.append(piece)
        return self._ids[piece]


def encode_pieces(tokens: Tokens, pieces: Iterable[str]) -> tuple[int, ...]:
    """The pieces, each by itself: in another order they are as many tokens, and a repeated piece repeats its ids."""
    return tuple(token for piece in pieces for token in tokens.encode(piece))
