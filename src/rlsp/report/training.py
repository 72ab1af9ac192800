"""Which curves the page shows of SFT and RL, with the words that say what to look for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlsp.config import Recipe, RewardRecipe
from rlsp.report import glossary
from rlsp.report.figures import LINE_STYLES, Chart, Series, lines, smooth
from rlsp.report.wording import compact, duration
from rlsp.runs import LENGTH_BY_LEVEL, Run, read_metrics

Metrics = Mapping[str, float]

MAX_COLUMNS = 7
SMALL = 170
BEHAVIOURS = {
    "behaviour/checks": "checks",
    "behaviour/backtracks": "backtracks",
    "behaviour/alternatives": "alternatives",
    "behaviour/repeats": "repeats",
}
JUDGEMENTS = {
    "behaviour/right_rejected": "right line rejected",
    "behaviour/wrong_accepted": "wrong line accepted",
}
SHARES = {
    "behaviour/honest_share": "honest checks",
    "behaviour/true_share": "lines of true arithmetic",
    "truncated": "truncated responses",
    "single_verdict_groups": "problems all right or all wrong",
    "zero_advantage": "responses that taught nothing",
}
COST_KEY = "tokens_per_right"
COST = {COST_KEY: "tokens for each right answer"}
ALLOCATION = {LENGTH_BY_LEVEL: "ρ of length and level"}
LENGTHS = {"length": "all", "length_right": "right answers", "length_wrong": "wrong answers"}
HEALTH = {
    "kl": (
        "KL to the start",
        "Nats a token from the model that RL began with. Slow growth is learning, a jump is drift.",
    ),
    "entropy": ("Entropy", "Spread of the next token. Falling to 0: the policy no longer tries anything new."),
    "approx_kl": ("KL of one update", "How far a single step moves the policy. Spikes: the steps are too large."),
    "clipfrac": ("Clipped share", "Tokens whose ratio was clipped. More than about 0.2: the steps are too large."),
    "explained_variance": ("Explained variance", "1: the critic foresees the reward. 0: no better than a constant."),
    "logprob_gap": (
        "Log-probability gap",
        "Sampler against trainer. It must stay near 0, or RL learns from other tokens.",
    ),
}
TABLE = {
    "accuracy": "accuracy",
    LENGTH_BY_LEVEL: "ρ of length and level",
    "held_out_accuracy": "accuracy, held-out problems",
    "exploration": "exploration reward",
    "reward": "reward",
    **{key: f"length, {label}" for key, label in LENGTHS.items()},
    **BEHAVIOURS,
    **JUDGEMENTS,
    **SHARES,
    **{key: title for key, (title, _) in HEALTH.items()},
}


@dataclass(frozen=True, slots=True)
class Table:
    """Running means at some steps: what the curves say, for readers who do not see them."""

    steps: list[int]
    rows: list[tuple[str, list[str]]]


@dataclass(frozen=True, slots=True)
class Training:
    """`steps`: how many there are so far; `main`: the large charts; `health`: the small ones; `facts`: what the whole
    training took."""

    steps: int
    main: list[Chart]
    health: list[Chart]
    facts: str
    window: int
    table: Table


def sft_chart(run: Run) -> Chart | None:
    metrics = read_metrics(run.path("sft", "metrics.jsonl"))
    loss = _series(metrics, {"loss": "loss"})
    if not loss:
        return None
    caption = (
        "Cross-entropy on the demonstrations, nats a token. Look for a fall that flattens (one epoch may end first)."
    )
    return lines("sft-loss", "Loss on demonstrations", caption, loss, window_of(len(metrics)))


def rl_training(run: Run, recipe: Recipe) -> Training | None:
    """None for a run without RL."""
    metrics = read_metrics(run.path("rl", "metrics.jsonl"))
    if not metrics:
        return None
    window = window_of(len(metrics))
    return Training(
        len(metrics),
        [chart for chart in _main_charts(metrics, recipe, window) if chart],
        [chart for chart in (_health_chart(metrics, key, window) for key in HEALTH) if chart],
        _facts(metrics, read_metrics(run.path("rl", "seconds.jsonl")), recipe),
        window,
        _table(metrics, window),
    )


def _main_charts(metrics: Sequence[Metrics], recipe: Recipe, window: int) -> list[Chart | None]:
    accuracy = _series(metrics, {"accuracy": "training problems", "held_out_accuracy": "held-out problems"})
    reward = _series(metrics, _reward_labels(recipe.reward))
    parts = {f"exploration/{name}": name for name in recipe.exploration.parts}
    charts = [
        ("accuracy", "Accuracy", f"Look for a rise{_held_out(recipe)}.", accuracy, True),
        ("length", "Response length", "Tokens a response. Growth that accuracy follows is thinking; growth alone is "
         f"padding. The cap is {recipe.sampling.max_response_tokens:,}.", _series(metrics, LENGTHS), False),
        ("cost", "Tokens for each right answer", "All that was sampled, for each answer that was right (steps without "
         "any are left out). Falling: thinking pays better.", _series(_with_cost(metrics), COST), False),
        ("allocation", "Longer where it is harder?", "Rank correlation ρ of a response's length with its problem's "
         "level: 0, effort without regard to difficulty; 1, strictly by it.", _series(metrics, ALLOCATION), False),
        ("reward", "The two parts of the reward", _reward_caption(recipe.reward), reward, False),
        ("exploration", "The parts of the exploration reward", "Each before its weight. If one grows and accuracy does "
         "not, that one is being gamed.", _series(metrics, parts) if len(parts) > 1 else [], False),
        ("behaviours", "Behaviours", "Mean count a response, found by executing it. Look for checks and backtracks "
         "that grow, or stay where SFT has brought them, while accuracy rises; not for repeats.",
         _series(metrics, BEHAVIOURS), False),
        ("judgement", "Errors of judgement", "Mean count a response: a right line thrown away, a wrong line kept. Both "
         "should be near 0.", _series(metrics, JUDGEMENTS), False),
        ("shares", "Shares", "Checks should be honest and arithmetic true. Truncated responses teach little, nor do "
         "problems whose samples are all right or all wrong.", _series(metrics, SHARES), True),
    ]  # fmt: skip
    return [
        lines(f"rl-{identity}", title, caption, series, window, percent) if series else None
        for identity, title, caption, series, percent in charts
    ]


def _held_out(recipe: Recipe) -> str:
    if recipe.probe is None:
        return ""
    return (
        f"; one in training problems alone is memory, not skill. Held out are {recipe.probe.problems} problems, "
        "neither trained on nor among the test problems"
    )


def _with_cost(metrics: Sequence[Metrics]) -> list[Metrics]:
    cost = COST_KEY
    return [
        {**each, cost: each["length"] / each["accuracy"]}
        for each in metrics
        if each.get("accuracy") and "length" in each
    ]


def _reward_caption(reward: RewardRecipe) -> str:
    apart = ", before the two are normalised apart" if reward.mix == "advantage" else ""
    return (
        f"What is paid for being right, and what for exploring{apart} (Eq. 1 of the paper). A charge is below 0. If "
        "exploration rises while accuracy does not, the reward is being gamed."
    )


def _reward_labels(reward: RewardRecipe) -> dict[str, str]:
    if reward.mode == "paper_code":
        return {"reward": "total, as the authors' code computes it"}
    correctness, exploration = glossary.weights(reward)
    return {
        "reward": "total",
        "reward_correctness": f"{correctness} × accuracy",
        "reward_exploration": f"{exploration} × exploration",
    }


def _health_chart(metrics: Sequence[Metrics], key: str, window: int) -> Chart | None:
    title, caption = HEALTH[key]
    series = _series(metrics, {key: title})
    return lines(f"rl-{key.replace('_', '-')}", title, caption, series, window, height=SMALL) if series else None


def _series(metrics: Sequence[Metrics], labels: Mapping[str, str]) -> list[Series]:
    """The series that have a value at one step or more, each in a style of its own; what is measured now and then is
    shown as it is, point by point."""
    found = []
    for position, (key, label) in enumerate(labels.items()):
        present = [each for each in metrics if key in each]
        if present:
            found.append(
                Series(
                    label,
                    [each["step"] for each in present],
                    [each[key] for each in present],
                    LINE_STYLES[position],
                    points=rare(present, metrics),
                )
            )
    return found


def rare(present: Sequence[Metrics], metrics: Sequence[Metrics]) -> bool:
    """Whether something was measured now and then, so that there is nothing to smooth."""
    return len(present) < len(metrics) / 2


def window_of(steps: int) -> int:
    """Odd, about a fifteenth of the steps; 1 leaves a short curve as it is."""
    return 1 if steps < 20 else 2 * max(1, steps // 30) + 1


def _facts(metrics: Sequence[Metrics], seconds: Sequence[Metrics], recipe: Recipe) -> str:
    rollouts = recipe.rl.rollouts_per_step
    parts = [f"{len(metrics):,} steps of {rollouts:,} rollouts"]
    if tokens := sum(each.get("tokens", 0) for each in metrics):
        parts.append(f"{tokens / 1e6:,.2f} million tokens sampled")
    for key, label in (("sampling", "sampling and judging"), ("update", "updates")):
        if taken := sum(each.get(key, 0) for each in seconds):
            parts.append(f"{duration(taken)} of {label}")
    return ", ".join(parts)


def _table(metrics: Sequence[Metrics], window: int) -> Table:
    columns = min(MAX_COLUMNS, len(metrics))
    chosen = sorted({round(each * (len(metrics) - 1) / max(1, columns - 1)) for each in range(columns)})
    steps = [int(metrics[position]["step"]) for position in chosen]
    rows = []
    for key, label in TABLE.items():
        present = [each for each in metrics if key in each]
        if present:
            values = [each[key] for each in present]
            means = values if rare(present, metrics) else smooth(values, window)
            by_step = {int(each["step"]): mean for each, mean in zip(present, means, strict=True)}
            rows.append((label, [compact(by_step.get(step)) for step in steps]))
    return Table(steps, rows)
