"""What a recipe will need, before anything is loaded: memory by part, and tokens."""

from __future__ import annotations

from dataclasses import dataclass

from rlsp.config import Recipe
from rlsp.lora import adapted_elements, meta_model
from rlsp.models import CHUNK_ELEMENTS, load_config, pick_device

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Estimate:
    """The model's parameters without adapters, how many numbers RL moves in the policy, bytes by part, and the most
    tokens that RL can sample."""

    parameters: int
    learnt: int
    bytes_by_part: dict[str, int]
    rollout_tokens: int

    @property
    def total_bytes(self) -> int:
        return sum(self.bytes_by_part.values())


def estimate(recipe: Recipe) -> Estimate:
    """An estimate from the model's configuration; its weights are not read.

    Raises:
        InputError: the model's configuration can't be used, or it can't have the adapters asked for.
    """
    config = load_config(recipe.model.path)
    model = meta_model(config, recipe.model.lora)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    learnt, frozen = (sum(size for size, learns in sizes if learns is kind) for kind in (True, False))
    text = config.get_text_config()
    width = 4
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    key_value_heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    layer_activations = 14 * text.hidden_size + 3 * getattr(text, "intermediate_size", 4 * text.hidden_size)
    token_activations = text.num_hidden_layers * layer_activations
    if recipe.model.gradient_checkpointing:
        token_activations = text.num_hidden_layers * text.hidden_size + layer_activations
    learners = ["policy", "critic"] if recipe.rl.critic_trunk == "own" else ["policy"]
    models = [*learners, "reference"] if recipe.rl.kl_coefficient > 0 else learners
    if recipe.model.lora is None:
        weights = {f"weights of {_listed(models)}": len(models) * width * learnt}
    else:
        weights = {
            f"frozen weights of {_listed(models)}": width * frozen,
            f"adapters of {_listed(learners)}": len(learners) * width * learnt,
            "merged weights while sampling": width * adapted_elements(model),
        }
    parts = weights | {
        f"gradients and AdamW of {_listed(learners)}": len(learners) * 3 * width * learnt,
        "key-value cache": 2
        * width
        * text.num_hidden_layers
        * key_value_heads
        * head_size
        * recipe.sampling.cache_tokens,
        "activations of one micro-batch": width * token_activations * recipe.rl.microbatch_tokens,
        "logits of one chunk": 3 * 4 * min(CHUNK_ELEMENTS, recipe.rl.microbatch_tokens * text.vocab_size),
    }
    if recipe.sampling.engine == "native" and pick_device().type == "cpu":
        matrices = [each.numel() for name, each in model.named_parameters() if each.ndim == 2 and "lora_" not in name]
        looked_up = 0 if text.tie_word_embeddings else text.vocab_size * text.hidden_size
        parts["matrices packed while sampling"] = width * (sum(matrices) - looked_up)
    rounds = 1 + recipe.rl.dynamic_sampling_rounds if recipe.rl.dynamic_sampling else 1
    tokens = recipe.rl.steps * rounds * recipe.rl.rollouts_per_step * recipe.sampling.max_response_tokens
    parameters = frozen if recipe.model.lora else learnt
    return Estimate(parameters, learnt, parts, tokens)


def _listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
