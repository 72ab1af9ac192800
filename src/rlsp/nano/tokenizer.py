"""The nano world's tokenizer: numbers up to 100 and the phrases of the trace language are single tokens, anything
else falls apart into ASCII characters. Encoding and decoding are lossless on ASCII text."""

from __future__ import annotations

import string

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
LARGEST_NUMBER = 100
PHRASES = (
    "Look for ",
    "Use ",
    " to make ",
    "Compute ",
    ", ",
    " + ",
    " - ",
    " * ",
    " = ",
    "; back ",
    "; is it ",
    "? yes",
    "? no",
)
_NUMBER = r"(?<!\d)(?:100|[1-9]\d|\d)(?!\d)"


def build_tokenizer() -> PreTrainedTokenizerFast:
    words = [PAD, EOS, UNKNOWN, *map(str, range(LARGEST_NUMBER + 1)), *PHRASES]
    words += [character for character in string.printable if character not in words]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=UNKNOWN))
    phrases = "|".join(phrase.replace("+", r"\+").replace("*", r"\*").replace("?", r"\?") for phrase in PHRASES)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(rf"{_NUMBER}|{phrases}|[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
