"""What each algorithm of RL is made of. The trainer asks this table and knows no algorithm by name; docs/algorithms.md
has the formulas and where they differ from published code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AlgorithmName = Literal["ppo", "grpo", "dr_grpo", "dapo", "rloo", "reinforce++"]
Estimator = Literal["gae", "group_z_score", "group_centred", "leave_one_out", "return_to_go"]
Aggregation = Literal["token_mean", "sequence_mean", "sequence_sum", "budget"]
DYNAMIC_SAMPLING_ROUNDS = 10
"""verl's `max_num_gen_batches` in its DAPO recipe."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """`estimator`: where advantages come from. `kl`: the tax on drifting from the reference falls on the rewards
    (k1, each token's own) or is a term of the loss (k3). `aggregation`: how token losses add up, see
    `losses.token_weights` and `losses.denominator`. `clip_high`: the upper clip, None: as the lower one. The others are
    defaults of the recipe."""

    estimator: Estimator
    kl: Literal["reward", "loss"]
    aggregation: Aggregation
    kl_coefficient: float
    clip_high: float | None = None
    dynamic_sampling: bool = False

    @property
    def critic(self) -> bool:
        """Whether a critic is trained and asked."""
        return self.estimator == "gae"

    @property
    def grouped(self) -> bool:
        """Whether a rollout is compared with the others of its problem."""
        return self.estimator in ("group_z_score", "group_centred", "leave_one_out")


ALGORITHMS: dict[AlgorithmName, Algorithm] = {
    "ppo": Algorithm("gae", "reward", "token_mean", kl_coefficient=0.05),
    "grpo": Algorithm("group_z_score", "loss", "sequence_mean", kl_coefficient=0.04),
    "dr_grpo": Algorithm("group_centred", "loss", "budget", kl_coefficient=0.0),
    "dapo": Algorithm("group_z_score", "loss", "token_mean", kl_coefficient=0.0, clip_high=0.28, dynamic_sampling=True),
    "rloo": Algorithm("leave_one_out", "reward", "sequence_sum", kl_coefficient=0.05),
    "reinforce++": Algorithm("return_to_go", "reward", "token_mean", kl_coefficient=0.01),
}
