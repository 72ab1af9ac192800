"""What the cluster recipes need: memory by formula, GPU-hours from published throughput. Prints the tables of
docs/scale.md; nothing is measured.

python benchmarks/cluster.py
"""

from __future__ import annotations

from dataclasses import dataclass

from rlsp.config import REPOSITORY_RECIPES, Recipe, load

GB = 1e9
H100 = 989e12
"""Peak bf16 floating-point operations a second, dense (NVIDIA's data sheet)."""
UTILISED = 0.4
"""The share of the peak that fine-tuning is taken to reach."""
TRACE = 2000
"""Tokens of a demonstration, a guess: yours will tell."""
SHORT = 1000
"""Tokens of a response, the lower end; the budget is the upper."""
PROMPT = 130
"""Tokens of a prompt, which the published rates count, too: by step time, rollouts and rate they had 1,192 and 3,316
tokens a rollout where 1,060 and 3,206 were generated."""


@dataclass(frozen=True)
class Size:
    """Parameters, layers, width, vocabulary and the values that a token keeps in the cache of a layer, as the model is
    configured; `rate`: tokens a second and GPU of GRPO, everything included, published for a model of that size."""

    parameters: float
    layers: int
    width: int
    vocabulary: int
    kept: int
    rate: float


EIGHT, THIRTY_TWO = 1562.0, 540.0
"""NeMo RL 0.4, performance summary: on-policy GRPO in bf16, sequences of at most 4096 tokens, Llama-3.1-8B on 16 and
Qwen3-32B on 32 H100s."""
SIZES = {
    "llama31-8b": Size(8.03e9, 32, 4096, 128256, 2 * 8 * 128, EIGHT),
    "qwen25-7b": Size(7.62e9, 28, 3584, 152064, 2 * 4 * 128, EIGHT),
    "qwen25-32b": Size(32.8e9, 64, 5120, 152064, 2 * 8 * 128, THIRTY_TWO),
}


def size_of(recipe: Recipe) -> Size:
    return next(size for name, size in SIZES.items() if recipe.name.startswith(name))


def passes(recipe: Recipe) -> float:
    """The work of a token relative to GRPO with a reference (2 to sample, 2 + 2 to score, 6 to learn, in units of the
    parameters), which the published rates are taken to be of: a critic scores and learns, too."""
    reference = 2 if recipe.rl.kl_coefficient > 0 else 0
    return (2 + 2 + reference + 6 + (2 + 6 if recipe.rl.definition.critic else 0)) / 12


def memory(recipe: Recipe) -> str:
    """A row: GB a GPU."""
    size, cluster = size_of(recipe), recipe.cluster
    assert cluster is not None
    states = 16 * (2 if recipe.rl.definition.critic else 1) + (4 if recipe.rl.kl_coefficient > 0 else 0)
    tokens = max(recipe.rl.microbatch_tokens, recipe.longest_tokens)
    cells = [
        f"`{recipe.name}`",
        f"{cluster.nodes} × {cluster.gpus_per_node}",
        f"{states * size.parameters / cluster.gpus / GB:.0f}" + (", offloaded in turn" if cluster.offload else ""),
        f"{2 * size.layers * size.width * tokens / GB:.1f}",
        f"{4 * size.vocabulary * tokens / GB:.1f}",
        f"{2 * size.parameters / cluster.tensor_parallel / GB:.0f}",
        f"{2 * size.layers * size.kept * recipe.longest_tokens / cluster.tensor_parallel / GB:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def hours(recipe: Recipe) -> str:
    """A row: GPU-hours of SFT and RL, and the wall clock on the recipe's GPUs."""
    size, cluster, rl = size_of(recipe), recipe.cluster, recipe.rl
    assert cluster is not None
    rollouts = rl.steps * rl.rollouts_per_step
    lengths = (SHORT, recipe.sampling.max_response_tokens)
    spans = [rollouts * length for length in lengths]
    needed = [rollouts * (PROMPT + length) / size.rate / 3600 * passes(recipe) for length in lengths]
    taught = 0.0
    if recipe.sft is not None and recipe.demonstrations is not None:
        tokens = recipe.demonstrations.count * TRACE * recipe.sft.epochs
        taught = 6 * size.parameters * tokens / (H100 * UTILISED) / 3600
    clock = [taught / cluster.gpus_per_node + each / cluster.gpus for each in needed]
    cells = [
        f"`{recipe.name}`",
        f"{rollouts:,}",
        f"{spans[0] / 1e6:.0f}–{spans[1] / 1e6:.0f} M",
        f"{taught:.0f}" if taught else "–",
        f"{needed[0]:.0f}–{needed[1]:.0f}",
        f"{clock[0]:.0f}–{clock[1]:.0f} h",
    ]
    return f"| {' | '.join(cells)} |"


def tables() -> tuple[str, str]:
    """(memory, GPU-hours) as Markdown; variants that need the same are left out."""
    paths = sorted(REPOSITORY_RECIPES.glob("*.toml"))
    recipes = [load(Recipe, str(path)) for path in paths if "[cluster]" in path.read_text(encoding="utf-8")]
    shown = [recipe for recipe in recipes if not recipe.name.endswith("-paper-code")]
    needs = ["| recipe | GPUs | states | activations | logits | sampler | cache of one response |"]
    costs = ["| recipe | rollouts | tokens | SFT | RL | on its GPUs |"]
    return (
        "\n".join([*needs, "|---|---|---:|---:|---:|---:|---:|", *map(memory, shown)]),
        "\n".join([*costs, "|---|---:|---:|---:|---:|---:|", *map(hours, shown)]),
    )


if __name__ == "__main__":
    print("\n\n".join(tables()))
