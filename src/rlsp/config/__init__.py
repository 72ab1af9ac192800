"""The recipe: what a run does, typed, read from TOML and `--set a.b=value`, checked when it is read.

Sizes are in tokens, rates per optimiser step, seeds are integers. A key that nothing knows is an error.
"""

from rlsp.config.exploration import ExplorationRecipe, JudgeRecipe
from rlsp.config.model import LoraRecipe, ModelRecipe
from rlsp.config.pretraining import ArchitectureRecipe, CorpusRecipe, PretrainRecipe
from rlsp.config.reading import REPOSITORY_RECIPES, changed, load, load_for_evaluation, override, restore, to_toml
from rlsp.config.recipe import AlarmRecipe, CheckpointRecipe, DemonstrationRecipe, Recipe, SamplingEngine, SftRecipe
from rlsp.config.reward import RewardRecipe, ScheduleRecipe
from rlsp.config.rl import RlRecipe
from rlsp.config.task import ColumnsRecipe, FilterRecipe, TaskRecipe, is_file_reference

__all__ = [
    "REPOSITORY_RECIPES",
    "AlarmRecipe",
    "ArchitectureRecipe",
    "CheckpointRecipe",
    "ColumnsRecipe",
    "CorpusRecipe",
    "DemonstrationRecipe",
    "ExplorationRecipe",
    "FilterRecipe",
    "JudgeRecipe",
    "LoraRecipe",
    "ModelRecipe",
    "PretrainRecipe",
    "Recipe",
    "RewardRecipe",
    "RlRecipe",
    "SamplingEngine",
    "ScheduleRecipe",
    "SftRecipe",
    "TaskRecipe",
    "changed",
    "is_file_reference",
    "load",
    "load_for_evaluation",
    "override",
    "restore",
    "to_toml",
]
