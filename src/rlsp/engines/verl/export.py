"""A recipe for verl as files: what verl reads, what it is told, and scripts that start it."""

from __future__ import annotations

from pathlib import Path

from rlsp.config import Recipe, is_file_reference, to_toml
from rlsp.config.cluster import ClusterRecipe
from rlsp.engines import drawing
from rlsp.engines.verl import data, settings
from rlsp.engines.verl.files import AGENT_LOOPS, HELD_OUT, PROMPTS, RECIPE
from rlsp.files import whole_directory, write_text
from rlsp.model_files import resolve
from rlsp.models import load_tokenizer

OVERRIDES = "overrides.txt"
RUN = 'cd "$(dirname "$0")"\nrlsp run recipe.toml --engine verl --out run "$@"\n'
PORT = 6379


def write(recipe: Recipe, directory: Path) -> list[str]:
    """Parquet files, `overrides.txt` in verl's words, `agent_loop.yaml`, the recipe, and `node.sh`, `ray.sh`,
    `slurm.sh`; whole or not at all. The scripts run the whole recipe: SFT, RL and evaluations, collected into `run`
    beside them.

    Returns:
        The names of what was written.

    Raises:
        InputError: verl can't do what the recipe asks for, or its data can't be read.
    """
    cluster = settings.check(recipe)
    model = resolve(recipe.model.path).resolve()
    tokenizer = load_tokenizer(recipe.model.path)
    told = settings.reinforcement(recipe, model, directory.resolve())
    texts = {
        RECIPE: to_toml(_moved(recipe, model)),
        OVERRIDES: "".join(f"{each}\n" for each in settings.overrides(told)),
        AGENT_LOOPS: settings.LOOP,
        "node.sh": "#!/bin/bash\n# One machine.\nset -euo pipefail\n" + RUN,
        "ray.sh": _ray(cluster),
        "slurm.sh": _slurm(recipe.name, cluster),
    }
    train = [problem for batch in drawing.training_problems(recipe) for problem in batch]
    with whole_directory(directory) as beside:
        data.write_prompts(beside / PROMPTS, train, tokenizer, recipe)
        data.write_prompts(beside / HELD_OUT, drawing.held_out_problems(recipe), tokenizer, recipe)
        for name, text in texts.items():
            write_text(beside / name, text)
            if name.endswith(".sh"):
                (beside / name).chmod(0o755)
    return sorted([*texts, PROMPTS, HELD_OUT])


def _moved(recipe: Recipe, model: Path) -> Recipe:
    """The recipe as it is read from any directory."""
    task, filters, shown = recipe.task, recipe.task.filters, recipe.demonstrations
    filters = filters.model_copy(
        update={
            "decontaminate": tuple(map(_absolute, filters.decontaminate)),
            "solved": str(Path(filters.solved).resolve()) if filters.solved else "",
        }
    )
    return recipe.model_copy(
        update={
            "model": recipe.model.model_copy(update={"path": str(model)}),
            "task": task.model_copy(update={"data": _absolute(task.data), "filters": filters}),
            "demonstrations": shown and shown.model_copy(update={"data": _absolute(shown.data)}),
        }
    )


def _absolute(reference: str) -> str:
    return str(Path(reference).resolve()) if is_file_reference(reference) else reference


def _ray(cluster: ClusterRecipe) -> str:
    return f"""#!/bin/bash
# On the head of a Ray cluster of {cluster.nodes} nodes with {cluster.gpus_per_node} GPUs each. Begin it by
#   ray start --head --port={PORT}          on this node, and by
#   ray start --address=HEAD:{PORT}         on every other;
# this directory has to be the same on all of them.
set -euo pipefail
export RAY_ADDRESS=auto
{RUN}"""


def _slurm(name: str, cluster: ClusterRecipe) -> str:
    return f"""#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --nodes={cluster.nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node={cluster.gpus_per_node}
#SBATCH --exclusive
# This directory has to be the same on all nodes; sbatch slurm.sh in it. Send it again with --resume to go on.
set -euo pipefail
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --nodes=1 --ntasks=1 --nodelist="$head" ray start --head --port={PORT} --block &
sleep 20
if [ "$SLURM_NNODES" -gt 1 ]; then
  srun --nodes=$((SLURM_NNODES - 1)) --ntasks=$((SLURM_NNODES - 1)) --exclude="$head" \\
    ray start --address="$head:{PORT}" --block &
  sleep 20
fi
export RAY_ADDRESS="$head:{PORT}"
cd "$SLURM_SUBMIT_DIR"
rlsp run recipe.toml --engine verl --out run "$@"
"""
