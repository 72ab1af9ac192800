"""Policy, reference and critic from any Hugging Face causal language model.

Sequences are padded on the right. Attention is causal, so no real token ever sees the padding and no attention mask
is needed; every function below takes the boolean mask of the tokens it is about and returns them packed, in row order.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from rlsp.errors import InputError
from rlsp.lora import copy_sharing_frozen, without_adapters
from rlsp.model_checks import RESTORE, check_config, check_files, check_stops, check_tokenizer, reading
from rlsp.model_files import resolve

logging.disable_progress_bar()  # rlsp shows its own

CHUNK_ELEMENTS = 2**25
"""Logits held at once by the log-prob step: 128 MiB in fp32, whatever the vocabulary."""


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_config(path: str) -> PretrainedConfig:
    """The model's configuration.

    Raises:
        InputError: there is none that transformers itself knows, a size in it makes no model, or its weights are
            quantized.
    """
    directory = resolve(path)
    with reading(path, "its config.json"):
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        check_config(path, config)
    return config


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """Raises InputError when there is none, when it has no EOS token: a policy could then never stop, or when it is not
    the model's."""
    directory, config = resolve(path), load_config(path)
    with reading(path, "its tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    check_tokenizer(path, tokenizer, config)
    return tokenizer


def load_generation(path: str) -> GenerationConfig:
    """How the model's makers end and draw responses; what its configuration says where they don't tell."""
    directory = resolve(path)
    if (directory / "generation_config.json").is_file():
        with reading(path, "its generation_config.json"):
            return GenerationConfig.from_pretrained(directory)
    return GenerationConfig.from_model_config(load_config(path))


def load_policy(path: str, device: torch.device) -> PreTrainedModel:
    """The model in fp32 on every device, since small updates vanish in bf16 weights; dropout off, since PPO's ratio
    compares like with like. Code that comes with a model is never run, pickled weights are never read.

    Raises:
        InputError: it can't be loaded that way.
    """
    directory, config = resolve(path), load_config(path)
    check_files(path, directory, config)
    with reading(path, "it"):
        opened: Any = AutoModelForCausalLM.from_pretrained(
            directory,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
            output_loading_info=True,
        )
    model, loaded = opened
    if mismatched := sorted(loaded["mismatched_keys"]):
        name, found, wanted = mismatched[0]
        raise InputError(
            f"model {path!r}: {len(mismatched)} weights have other shapes than config.json asks for: {name} is "
            f"{list(found)} and not {list(wanted)}; {RESTORE}"
        )
    if missing := sorted(loaded["missing_keys"]):
        raise InputError(
            f"model {path!r}: {len(missing)} weights that config.json asks for are not in its files: {missing[0]} …; "
            f"{RESTORE}"
        )
    layers = [name for name in loaded["unexpected_keys"] if ".layers." in f".{name}"]
    if layers:
        raise InputError(
            f"model {path!r}: {len(layers)} weights in its files belong to layers that config.json does not ask for: "
            f"{min(layers)} …; {RESTORE}"
        )
    check_stops(path, directory, model)
    nn.Module.to(model, device)
    return model.eval()


def frozen_copy(model: PreTrainedModel) -> PreTrainedModel:
    """The reference policy: today's weights, without gradients. A model with new adapters shares its frozen base.

    Raises:
        ValueError: the adapters have learnt already.
    """
    base = without_adapters(model)
    return copy.deepcopy(model).requires_grad_(False).eval() if base is None else base


class Critic(nn.Module):
    """V(s_t): a trunk and a linear head for each stream of rewards, which start at zero.

    The trunk is a copy of the policy's. What is frozen in the policy is shared with it: beside a policy with adapters,
    the critic has adapters of its own. With `shared` it is the policy's trunk itself, and the critic's parameters are
    its head's alone.
    """

    def __init__(self, policy: PreTrainedModel, streams: int = 1, shared: bool = False) -> None:
        super().__init__()
        self.shared = shared
        trunk = trunk_of(policy)
        self.trunk = partial(trunk) if shared else copy_sharing_frozen(trunk)  # a partial is no submodule
        self.lenders = (policy,) if shared else ()  # nor is what stands in a tuple
        weight = policy.get_output_embeddings().weight
        self.head = nn.Linear(weight.shape[1], streams, device=weight.device, dtype=weight.dtype)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @property
    def models(self) -> list[nn.Module]:
        """What its values depend on: itself, and the policy whose trunk it shares."""
        return [self, *self.lenders]

    def forward(self, input_ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Values of the states in which the masked tokens were chosen, packed [S, N]."""
        hidden_BTH = self.trunk(input_ids=input_ids_BT, use_cache=False).last_hidden_state
        return self.values(_before(hidden_BTH, mask_BT))

    def values(self, states_NH: Tensor) -> Tensor:
        """Values [S, N] of the trunk's states."""
        return self.head(states_NH).float().T


def trunk_of(model: PreTrainedModel) -> nn.Module:
    """The model without its output head."""
    return model.get_decoder()


def token_logprobs(
    model: PreTrainedModel, input_ids_BT: Tensor, mask_BT: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Log-probs of the masked tokens given what precedes them, and the entropies of the distributions they come from.

    Args:
        input_ids_BT: token ids, padded on the right.
        mask_BT: True at the tokens asked about; never at position 0.
        temperature: the logits are divided by it, so that the result is the density that was sampled from.

    Returns:
        (log-probs [N], entropies [N]), packed in row order, in nats and fp32. The entropies carry no gradient.
    """
    return logprobs_and_states(model, input_ids_BT, mask_BT, temperature)[:2]


def logprobs_and_states(
    model: PreTrainedModel, input_ids_BT: Tensor, mask_BT: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """`token_logprobs`, and the states [N, H] in which the tokens were chosen: the trunk's, see `has_plain_head`."""
    targets_N = input_ids_BT[mask_BT]
    states_BTH, head = _states_and_head(model, input_ids=input_ids_BT, use_cache=False)
    states_NH = _before(states_BTH, mask_BT)
    rows = max(1, CHUNK_ELEMENTS // model.config.get_text_config().vocab_size)
    chunks = []
    for states, targets in zip(states_NH.split(rows), targets_N.split(rows), strict=True):
        if torch.is_grad_enabled() and len(states_NH) > rows:
            chunks.append(checkpoint(_score_chunk, head, states, targets, temperature, use_reentrant=False))
        else:
            chunks.append(_score_chunk(head, states, targets, temperature))
    logprobs, entropies = zip(*chunks, strict=True)
    return torch.cat(logprobs), torch.cat(entropies), states_NH


def logits_at(model: PreTrainedModel, positions_B: Tensor, **inputs: object) -> Tensor:
    """Logits [B, V] after one position of each row; `inputs` go to the model as they are."""
    states_BTH, head = _states_and_head(model, **inputs)
    return head(states_BTH[torch.arange(len(positions_B), device=positions_B.device), positions_B])


@torch.no_grad()
def check_logits(model: PreTrainedModel) -> None:
    """Raises InputError when the model's logits are not finite, or made in a way that `logits_at` and `token_logprobs`
    do not know: sampling and training would then share the same wrong distribution."""
    ids_BT = torch.arange(8, device=model.device)[None] % model.config.get_text_config().vocab_size
    ours = logits_at(model, torch.tensor([7], device=model.device), input_ids=ids_BT, use_cache=False)
    theirs = model(input_ids=ids_BT, use_cache=False).logits[:, 7]
    if not theirs.isfinite().all():
        raise InputError(f"the logits of {type(model).__name__} are NaN or infinite: its weights are broken; {RESTORE}")
    if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3):
        raise InputError(
            f"{type(model).__name__} makes its logits in a way that rlsp does not know (they differ from its head's "
            f"output by up to {(ours - theirs).abs().max().item():.3g}): such a model can't be trained yet"
        )


def _before(states_BTH: Tensor, mask_BT: Tensor) -> Tensor:
    """The states one position before the masked tokens, packed [N, H]."""
    return states_BTH[:, :-1][mask_BT[:, 1:]]


def _states_and_head(model: PreTrainedModel, **inputs: object) -> tuple[Tensor, nn.Module]:
    """States [B, T, H] and the module that turns them into logits. Models without a plain head go through their whole
    forward pass instead."""
    if not has_plain_head(model.config):
        return model(**inputs).logits, nn.Identity()
    return trunk_of(model)(**inputs).last_hidden_state, model.get_output_embeddings()


def has_plain_head(config: PretrainedConfig) -> bool:
    """Whether the model's logits are its head's output, neither soft-capped nor scaled."""
    transforms = (
        "final_logit_softcapping",
        "logit_scale",
        "logits_scaling",
        "lm_head_multiplier",
        "logits_soft_cap",
        "logits_mup_width_multiplier",
    )
    return all(getattr(config.get_text_config(), name, None) in (None, 1.0) for name in transforms)


def _score_chunk(head: nn.Module, states: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    logits = head(states).float()
    if temperature != 1.0:
        logits = logits / temperature
    log_softmax = logits.log_softmax(-1)
    with torch.no_grad():
        entropies = -torch.linalg.vecdot(log_softmax.exp(), log_softmax)
    return log_softmax.gather(1, targets[:, None]).squeeze(1), entropies
