"""Sampling tokens from logits without sorting the vocabulary."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK = 256
"""Tokens whose probabilities are added up before the cumulative distribution is inverted: cumulative sums are slow, and
one over V/256 blocks and one within a block are as good as one over V."""
BELOW_ONE = 1 - 1e-6

Draw = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def draw(logits_BV: Tensor, uniforms_B: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Sample by inverting the cumulative distribution, one uniform number a token. The work is done in the logits'
    memory: they are gone afterwards.

    Returns:
        (tokens [B], their log-probs [B] at the temperature; at temperature 0 the argmax and its log-prob at 1).
    """
    if temperature == 0:
        tokens_B = logits_BV.argmax(-1)
        logprobs_B = logits_BV.log_softmax(-1).gather(1, tokens_B[:, None]).squeeze(1)
    else:
        if temperature != 1:
            logits_BV.div_(temperature)
        masses_BV = torch.softmax(logits_BV, -1, out=logits_BV)
        tokens_B1, total_B1 = _invert(masses_BV, uniforms_B[:, None])
        tokens_B = tokens_B1.squeeze(1)
        logprobs_B = (masses_BV.gather(1, tokens_B1) / total_B1).squeeze(1).log()
    return tokens_B, finite(logprobs_B)


def finite(logprobs_B: Tensor) -> Tensor:
    """Raises RuntimeError for what can't be the log-prob of a token that was drawn."""
    if not torch.isfinite(logprobs_B).all():
        raise RuntimeError("the model's logits are NaN or infinite: look for NaN in its weights")
    return logprobs_B


def _invert(masses_BV: Tensor, uniforms_B1: Tensor) -> tuple[Tensor, Tensor]:
    """(the tokens at which the cumulative distributions pass the uniforms, the masses' sums): first the block is found,
    then the token in it."""
    vocabulary = masses_BV.shape[1]
    whole = vocabulary - vocabulary % BLOCK
    sums_BK = masses_BV[:, :whole].unflatten(1, (-1, BLOCK)).sum(-1)
    if whole < vocabulary:
        sums_BK = torch.cat([sums_BK, masses_BV[:, whole:].sum(-1, keepdim=True)], 1)
    total_B1 = sums_BK.sum(-1, keepdim=True)
    blocks_B1, rest_B1 = _pass(sums_BK, uniforms_B1 * total_B1)
    places_BK = blocks_B1 * BLOCK + torch.arange(BLOCK, device=masses_BV.device)
    inside_BK = masses_BV.gather(1, places_BK.clamp(max=vocabulary - 1))
    inside_BK = inside_BK.masked_fill_(places_BK >= vocabulary, 0.0)
    tokens_B1, _ = _pass(inside_BK, rest_B1)
    return (blocks_B1 * BLOCK + tokens_B1).clamp_(max=vocabulary - 1), total_B1  # NaN falls off the end


def _pass(masses_BK: Tensor, aims_B1: Tensor) -> tuple[Tensor, Tensor]:
    """(the first places at which the running sum exceeds the aims, what of the aims is left there). Aims that rounding
    pushed to the total or beyond are drawn below it, so that no place without mass is ever chosen."""
    cumulative_BK = masses_BK.cumsum(-1)
    aims_B1 = torch.minimum(aims_B1, BELOW_ONE * cumulative_BK[:, -1:])
    places_B1 = torch.searchsorted(cumulative_BK, aims_B1, right=True).clamp(max=masses_BK.shape[1] - 1)
    before_B1 = cumulative_BK.gather(1, places_B1) - masses_BK.gather(1, places_B1)
    return places_B1, (aims_B1 - before_B1).clamp(min=0)
