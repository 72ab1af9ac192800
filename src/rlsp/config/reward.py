"""What a response earns: Eq. 1, its α over training, and how its signals meet."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlsp.config.section import Section, Share


class ScheduleRecipe(Section):
    """α goes from reward.alpha to `end`: by optimiser step (`linear`, `cosine`), or while the accuracy on held-out
    problems goes from the first to the second of `accuracies` (`accuracy`)."""

    kind: Literal["constant", "linear", "cosine", "accuracy"] = "constant"
    end: Share = 1.0
    accuracies: tuple[Share, Share] = (0.5, 0.8)

    @model_validator(mode="after")
    def _accuracies_rise(self) -> ScheduleRecipe:
        low, high = self.accuracies
        if low >= high:
            raise ValueError(f"accuracies = [{low:g}, {high:g}] do not rise: give the lower one first")
        return self


class RewardRecipe(Section):
    """Eq. 1: α·1[correct] + (1−α)·R_ex, clamped to ±`clamp`. `truncation`: what a response without EOS earns (`keep`:
    the same; `floor`: the lowest exploration reward; `mask`: it leaves the loss). `mix`: the two signals are added as
    rewards (`reward`, the paper) or as normalised advantages (`advantage`). `mode`: Eq. 1 (`paper_eq1`), or what the
    authors' released code computes instead (`paper_code`), with its C = `paper_code_c` and, if `strict`, without the
    gap that pays for answers without any reasoning."""

    mode: Literal["paper_eq1", "paper_code"] = "paper_eq1"
    mix: Literal["reward", "advantage"] = "reward"
    alpha: Share = 0.8
    schedule: ScheduleRecipe = ScheduleRecipe()
    clamp: Annotated[float, Field(gt=0)] = 10.0
    truncation: Literal["keep", "floor", "mask"] = "floor"
    paper_code_c: Annotated[float, Field(gt=0)] = 1000.0
    strict: bool = False

    @model_validator(mode="after")
    def _mode_allows(self) -> RewardRecipe:
        if self.mode == "paper_code" and (self.mix, self.truncation) != ("reward", "keep"):
            raise ValueError("mode 'paper_code' is one number a response: set mix = 'reward' and truncation = 'keep'")
        if self.strict and self.mode != "paper_code":
            raise ValueError("strict closes a gap of mode 'paper_code'; 'paper_eq1' does not have it: leave it out")
        return self
