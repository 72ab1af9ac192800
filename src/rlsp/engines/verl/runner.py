"""verl's own configuration, composed and checked, and verl's own loop with our trainer in it: `python -m
rlsp.engines.verl.runner FOLDER` does what the folder's settings say, on this machine or on the Ray cluster that it is
part of."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from verl.trainer.main_ppo import TaskRunnerV1, run_ppo
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config
from verl.utils.device import auto_set_device

from rlsp.engines.verl.files import SETTINGS
from rlsp.engines.verl.settings import TRAINER, is_free
from rlsp.errors import InputError
from rlsp.files import read_json


@ray.remote
class Runner(TaskRunnerV1.__ray_metadata__.modified_class):
    """verl's task runner, in whose process our trainer is known."""

    def run(self, config: Any) -> None:
        from verl.trainer.ppo.v1 import get_trainer_cls

        from rlsp.engines.verl.trainer import Trainer

        if get_trainer_cls(TRAINER) is not Trainer:
            raise RuntimeError(f"verl's trainer {TRAINER!r} is not ours: another plugin has taken the name")
        super().run(config)


def composed(settings: Mapping[str, Any], name: str = "ppo_trainer") -> Any:
    """verl's configuration with these dotted keys set.

    Raises:
        InputError: verl does not know a key, or its own checks refuse a value.
    """
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose(name)
    OmegaConf.set_struct(config, True)
    for key, value in settings.items():
        try:
            OmegaConf.update(config, key, value, merge=False, force_add=is_free(key))
        except OmegaConfBaseException as error:
            raise InputError(f"verl's configuration has no key {key!r}: {error}".splitlines()[0]) from None
    return config


def checked(settings: Mapping[str, Any]) -> Any:
    """`composed`, and looked through by verl itself.

    Raises:
        InputError: as there.
    """
    config = composed(settings)
    auto_set_device(config)
    try:
        validate_config(config, need_reference_policy(config), need_critic(config))
    except (AssertionError, ValueError, OmegaConfBaseException, HydraException) as error:
        raise InputError(f"verl refuses the recipe: {error}") from None
    return config


def main(folder: Path) -> None:
    run_ppo(checked(read_json(folder / SETTINGS)), task_runner_class=Runner)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
