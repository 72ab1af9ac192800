"""Checkpoints come back bit for bit; what is damaged is never taken for one."""

from __future__ import annotations

import errno
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from rlsp import checkpoints
from rlsp.checkpoints import Checkpoint, DamagedError
from rlsp.config import CheckpointRecipe
from rlsp.engines.keeper import Keeper
from rlsp.errors import InputError
from rlsp.files import JsonLines
from rlsp.optim import adamw, muon

TENSORS = {"weight": torch.tensor([[0.1, -0.0], [float("inf"), 1e-45]]), "rng": torch.get_rng_state()}
STATE = {"held_out": {"accuracy": 1 / 3}, "best": None, "logs": {}}


def written(folder: Path, step: int = 7) -> Path:
    checkpoints.write(folder, Checkpoint(step, TENSORS, STATE))
    return folder / f"{step:06d}"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_it_comes_back(tmp_path: Path) -> None:
    place = written(tmp_path)
    assert names(place) == ["manifest.json", "state.json", "tensors.safetensors"]
    assert names(tmp_path) == ["000007"]
    again = checkpoints.read(place)
    assert (again.step, again.state) == (7, STATE)
    assert again.tensors.keys() == TENSORS.keys()
    assert all(same_bits(again.tensors[name], tensor) for name, tensor in TENSORS.items())


def same_bits(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.numpy().tobytes() == other.numpy().tobytes()


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["cut", "gone", "flipped", "empty", "longer"])
def test_any_damage_is_noticed(tmp_path: Path, name: str, harm: str) -> None:
    place = written(tmp_path)
    path = place / name
    content = path.read_bytes()
    middle = len(content) // 2
    harmed = {
        "cut": content[:middle],
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "empty": b"",
        "longer": content + b"\0",
    }
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(harmed[harm])
    with pytest.raises(DamagedError, match=name if harm != "flipped" else str(place)):
        checkpoints.read(place)


def test_before_the_first_step_there_can_be_one(tmp_path: Path) -> None:
    assert checkpoints.read(written(tmp_path, 0)).step == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"more": 1}, "not a checkpoint's"),
        ({"files": {}}, "not a checkpoint's"),
        ({"files": ["state.json"]}, "not a checkpoint's"),
        ({"files": {"state.json": 1, "tensors.safetensors": 2}}, "not a checkpoint's"),
        ({"format": 2}, "format 2"),
        ({"step": 6}, "step 6"),
        ({"step": "7"}, "step '7'"),
    ],
)
def test_a_strange_manifest_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = written(tmp_path) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DamagedError, match=words):
        checkpoints.read(path.parent)


@pytest.mark.parametrize("manifest", ["[]", "{}"])
def test_an_empty_manifest_is_refused(tmp_path: Path, manifest: str) -> None:
    place = written(tmp_path)
    (place / "manifest.json").write_text(manifest)
    with pytest.raises(DamagedError, match="not a checkpoint's"):
        checkpoints.read(place)


def test_one_on_a_bad_sector_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, 3), written(tmp_path, 4)
    measure = checkpoints.sha256

    def fail(path: Path) -> str:
        if path.parent.name == "000004":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return measure(path)

    monkeypatch.setattr(checkpoints, "sha256", fail)
    newest, damaged = checkpoints.newest(tmp_path)
    assert newest is not None and newest.step == 3
    assert len(damaged) == 1 and "Input/output error" in damaged[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda model: [adamw(model.parameters(), 1e-2)],
        lambda model: muon(model, 1e-2, 0.1),
    ],
    ids=["adamw", "muon"],
)
def test_optimizers_go_on_bit_for_bit(
    tiny_model: LlamaForCausalLM, make: Callable[[nn.Module], list[torch.optim.Optimizer]]
) -> None:
    """Three steps, or one and two after a break, from the same start."""
    start = {name: each.clone() for name, each in tiny_model.state_dict().items()}
    learn(tiny_model, make(tiny_model), range(3))
    wanted = {name: each.clone() for name, each in tiny_model.state_dict().items()}
    tiny_model.load_state_dict(start)
    optimizers = make(tiny_model)
    learn(tiny_model, optimizers, range(1))
    kept = {name: each.clone() for name, each in checkpoints.weights("policy", tiny_model).items()}
    for number, optimizer in enumerate(optimizers):
        kept |= {name: each.clone() for name, each in checkpoints.optimizer_state(f"o{number}", optimizer).items()}
    learn(tiny_model, optimizers, range(5, 9))
    again = make(tiny_model)
    checkpoints.restore_weights("policy", tiny_model, kept)
    for number, optimizer in enumerate(again):
        checkpoints.restore_optimizer(f"o{number}", optimizer, kept)
    learn(tiny_model, again, range(1, 3))
    assert all(same_bits(each, wanted[name]) for name, each in tiny_model.state_dict().items())
    assert any(not torch.equal(start[name], each) for name, each in wanted.items())


def learn(model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer], steps: range) -> None:
    for step in steps:
        ids_BT = torch.arange(12).view(2, 6) + step
        model(input_ids=ids_BT, labels=ids_BT).loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


def test_weights_of_another_shape_are_refused(tiny_model: LlamaForCausalLM) -> None:
    kept = checkpoints.weights("policy", tiny_model)
    name = next(iter(kept))
    with pytest.raises(InputError, match=f"{name} is .*"):
        checkpoints.restore_weights("policy", tiny_model, kept | {name: torch.zeros(1)})
    with pytest.raises(InputError, match="has no"):
        checkpoints.restore_weights("policy", tiny_model, {})


# Which are kept, and which one is gone on from


def keeper(directory: Path, every: int | None = 1, keep: int = 2, begun: int = 0) -> tuple[Keeper, JsonLines]:
    log = JsonLines(directory / "metrics.jsonl")
    return Keeper(directory, CheckpointRecipe(every=every, keep=keep), [log], begun), log


def snapshot(step: int) -> Checkpoint:
    return Checkpoint(step, {"weight": torch.full((3,), float(step))}, {})


def trained(directory: Path, steps: int, every: int | None = 1, keep: int = 2) -> Keeper:
    kept, log = keeper(directory, every, keep)
    for step in range(1, steps + 1):
        log.write({"step": step})
        kept.save(step, snapshot)
    return kept


def test_the_newest_are_kept_and_the_best(tmp_path: Path) -> None:
    kept, log = keeper(tmp_path)
    for step, accuracy in enumerate([0.1, 0.5, 0.5, 0.2, 0.3, 0.1], 1):
        log.write({"step": step})
        kept.save(step, snapshot)
        kept.measured(step, accuracy)
    assert names(tmp_path / "checkpoints") == ["000002", "000005", "000006"]
    kept.prune(1)
    assert names(tmp_path / "checkpoints") == ["000002", "000006"]


def test_every_nth_step_and_whenever_it_is_asked_for(tmp_path: Path) -> None:
    kept = trained(tmp_path, 8, every=3, keep=9)
    assert names(tmp_path / "checkpoints") == ["000003", "000006"]
    kept.save(8, snapshot, now=True)
    assert names(tmp_path / "checkpoints") == ["000003", "000006", "000008"]


def test_by_default_they_take_a_tenth_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the wall clock is set meanwhile."""
    clock, wall = [1000.0], itertools.cycle((0.0, 1e6, -1e6))
    monkeypatch.setattr("rlsp.engines.keeper.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("rlsp.engines.keeper.time.time", lambda: next(wall))

    def slow(step: int) -> Checkpoint:
        clock[0] += 2.0
        return snapshot(step)

    kept, log = keeper(tmp_path, every=None, keep=99)
    for step in range(1, 61):
        clock[0] += 1.0
        log.write({"step": step})
        kept.save(step, slow)
    assert names(tmp_path / "checkpoints") == ["000001", "000021", "000041"]


def test_going_on_cuts_the_log_to_the_checkpoint(tmp_path: Path) -> None:
    _, log = trained(tmp_path, 2), JsonLines(tmp_path / "metrics.jsonl")
    wanted = log.path.read_bytes()
    log.write({"step": 3})
    with log.path.open("a") as file:
        file.write('{"step": ')
    again, _ = keeper(tmp_path)
    newest, damaged = again.newest()
    assert newest is not None and newest.step == 2 and not damaged
    assert log.path.read_bytes() == wanted


def test_a_damaged_one_is_passed_over_and_named(tmp_path: Path) -> None:
    trained(tmp_path, 4)
    (tmp_path / "checkpoints" / "000004" / "tensors.safetensors").write_bytes(b"")
    newest, damaged = keeper(tmp_path)[0].newest()
    assert newest is not None and newest.step == 3
    assert len(damaged) == 1 and "000004: tensors.safetensors holds 0 bytes of" in damaged[0]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3
    assert names(tmp_path / "checkpoints") == ["000003"], "it would be kept in the place of a whole one"


def test_what_a_fork_began_with_stays(tmp_path: Path) -> None:
    trained(tmp_path, 5, keep=9)
    forked, _ = keeper(tmp_path, keep=1, begun=2)
    forked.prune(1)
    assert names(tmp_path / "checkpoints") == ["000002", "000005"]
    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(InputError, match=r"is whole\. Put one back from a copy, or fork again"):
        forked.newest()


def test_none_that_is_whole_is_a_refusal(tmp_path: Path) -> None:
    trained(tmp_path, 4)
    for place in (tmp_path / "checkpoints").iterdir():
        (place / "state.json").unlink()
    with pytest.raises(InputError, match=r"no checkpoint in .* is whole: .*000004.*000003.*train this stage again"):
        keeper(tmp_path)[0].newest()


@pytest.mark.parametrize("harm", ["lost", "changed", "gone"])
def test_a_log_that_lost_steps_is_a_refusal(tmp_path: Path, harm: str) -> None:
    trained(tmp_path, 4)
    path = tmp_path / "metrics.jsonl"
    content = path.read_text()
    if harm == "gone":
        path.unlink()
    else:
        path.write_text(content[:-10] if harm == "lost" else content.replace("1", "9"))
    with pytest.raises(InputError, match=r"metrics\.jsonl has lost or changed lines of the first 4 steps"):
        keeper(tmp_path)[0].newest()


def test_without_any_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert keeper(tmp_path)[0].newest() == (None, [])
    trained(tmp_path, 1)
    shutil.rmtree(tmp_path / "checkpoints")
    assert keeper(tmp_path)[0].newest() == (None, [])
