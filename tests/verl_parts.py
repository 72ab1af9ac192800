"""What verl gets from us, piece by piece: configuration, data, rewards under Ray, advantages.

make test-verl
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from tensordict import TensorDict
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedTokenizerFast
from verl import DataProto
from verl.experimental.reward_loop.reward_loop import RewardLoopWorker
from verl.trainer.ppo.core_algos import compute_gae_advantage_return
from verl.utils.dataset.rl_dataset import RLHFDataset

from rlsp.config import Recipe, load, to_toml
from rlsp.engines import drawing, stages
from rlsp.engines.progress import Silent
from rlsp.engines.verl import data, plan, runner, settings
from rlsp.engines.verl.critic import field
from rlsp.engines.verl.files import HELD_OUT, LOGPROBS, RECIPE
from rlsp.engines.verl.rewards import RESPONSE, SCORE, TEXT, TRUNCATED
from rlsp.engines.verl.trainer import Seen
from rlsp.errors import InputError
from rlsp.exploration import explorer_for
from rlsp.model_files import resolve
from rlsp.models import load_tokenizer
from rlsp.prompts import decode_response, encode_prompt, encode_response, instruct
from rlsp.reward import alpha_at, score
from rlsp.rl.advantages import gae, whiten
from rlsp.rl.experience import estimate
from rlsp.rl.streams import streams_for
from rlsp.types import Finish, Problem, Rollout, Score, from_json, to_json
from tests.integrations_server import HOSTILE, SLOW
from tests.scripted_endpoint import endpoint, graded

HERE = Path(__file__).parent
TEST_RECIPE = str(HERE / "verl_nano.toml")
CLUSTER = sorted(
    path for path in (HERE.parent / "recipes").glob("*.toml") if "[cluster]" in path.read_text(encoding="utf-8")
)
ROLLOUTS = 200


def recipe_with(*overrides: str) -> Recipe:
    return load(Recipe, TEST_RECIPE, overrides)


@pytest.mark.parametrize("path", CLUSTER, ids=lambda path: path.stem)
def test_verl_takes_every_cluster_recipe(path: Path) -> None:
    """By verl's own configuration and its checks; the nano model stands for those that are not here."""
    assert "takes it" in plan.checked(load(Recipe, str(path), ["model.path=nano"]))


def test_what_is_exported_says_on_a_command_line_what_a_run_says() -> None:
    model = resolve("nano").resolve()
    folder = Path(r"a \folder of \"Jürgen\" in C:\\")
    told = settings.reinforcement(load(Recipe, str(CLUSTER[0]), ["model.path=nano"]), model, folder)
    with initialize_config_module("verl.trainer.config", version_base=None):
        by_hydra = compose("ppo_trainer", overrides=list(settings.overrides(told)))
    assert OmegaConf.to_container(by_hydra) == OmegaConf.to_container(runner.composed(told))


@pytest.mark.parametrize(("mix", "streams"), [("reward", "reward"), ("advantage", "correctness, kl, length")])
def test_the_critic_has_a_head_for_each_stream(mix: str, streams: str) -> None:
    assert plan.checked(recipe_with(f"reward.mix={mix}")).endswith(f"streams of the critic: {streams}")


def test_there_are_cluster_recipes() -> None:
    assert {"llama31-8b-math", "qwen25-32b-aime"} <= {path.stem for path in CLUSTER}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["cluster.verl.trainer.nodes=3"], "no key 'trainer.nodes'"),
        (["cluster.verl.actor_rollout_ref.actor.loss_agg_mode=median"], "verl refuses"),
        (["cluster.gpus_per_node=3"], "does not divide among 3 GPUs"),
        (["cluster.tensor_parallel=4"], "does not divide 2 GPUs"),
        (["rl.minibatch_rollouts=1"], "multiple of rl.samples_per_prompt"),
        (["reward.truncation=mask"], "native engine"),
        (["exploration.novelty.weight=1"], "native engine"),
    ],
)
def test_what_verl_cannot_do_is_told(overrides: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan.checked(recipe_with(*overrides))


def folder_of(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """A job's folder, and its settings."""
    tokenizer = load_tokenizer("nano")
    (folder / RECIPE).write_text(to_toml(recipe))
    data.write_prompts(folder / HELD_OUT, drawing.held_out_problems(recipe), tokenizer, recipe)
    return settings.evaluation(recipe, resolve("nano").resolve(), folder, 1, 1.0)


def test_verls_own_data_set_class_reads_the_prompts(tmp_path: Path) -> None:
    recipe, tokenizer = recipe_with(), load_tokenizer("nano")
    config = runner.composed(folder_of(recipe, tmp_path))
    problems = drawing.held_out_problems(recipe)
    found = RLHFDataset(str(tmp_path / HELD_OUT), tokenizer=tokenizer, config=config.data)
    assert len(found) == len(problems)
    for problem, row in zip(problems, (found[index] for index in range(len(found))), strict=True):
        assert row["extra_info"]["prompt_ids"] == list(encode_prompt(tokenizer, problem, instruct(problem, recipe)).ids)
        assert row["raw_prompt"] == [{"role": "user", "content": problem.question}]
        assert from_json(Problem, json.loads(row["reward_model"]["ground_truth"])) == problem


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """It spells everything, as the nano model's does not."""
    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()), 1)}
    raw = Tokenizer(models.BPE({"<eos>": 0, **letters}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>", pad_token="<eos>")


def responses(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> list[tuple[Problem, Rollout]]:
    """Sampled ones, and answers to mathematics: right, wrong, hostile, and some that take longer than the deadline. A
    third of them is cut off."""
    problems = drawing.held_out_problems(recipe)
    drawn = stages.sample(stages.open_policy("nano"), problems, 8, 1.0, recipe, Silent(), "sample")
    by_id = {problem.id: problem for problem in problems}
    told = [(by_id[each.problem_id], each.text) for each in drawn]
    texts = ["\\boxed{7}", "\\boxed{8}", "none", *HOSTILE, SLOW]
    for number in range(ROLLOUTS - len(told)):
        text = texts[number % len(texts)]
        told.append((Problem(f"math/{number}", "math", "Which?", "\\cos(x)" if text is SLOW else "7"), text))
    stops = frozenset({tokenizer.eos_token_id})
    found = []
    for number, (problem, text) in enumerate(told):
        ids = encode_response(tokenizer, text)[: None if number % 3 else -1]
        finish = Finish.EOS if number % 3 else Finish.LENGTH
        shown = decode_response(tokenizer, ids, stops)
        rollout = Rollout(problem.id, number, (5,), ids, (0.0,) * len(ids), shown, finish, 1.0, 0)
        found.append((problem, rollout))
    return found


def as_verl_sends(problem: Problem, rollout: Rollout) -> DataProto:
    """One response as verl's agent loop hands it to a reward worker."""
    prompt, response = torch.tensor([rollout.prompt_ids]), torch.tensor([rollout.response_ids])
    whole = torch.cat([prompt, response], 1)
    tensors = {"prompts": prompt, "responses": response, "input_ids": whole, "attention_mask": torch.ones_like(whole)}
    objects = {
        "reward_model": {"style": "rule", "ground_truth": json.dumps(to_json(problem))},
        "extra_info": {"held_out": False},
        "global_steps": 2,
        "prompt_len": len(rollout.prompt_ids),
        "response_len": rollout.length,
    }
    columns = {name: np.array([value], dtype=object) for name, value in objects.items()}
    return DataProto(TensorDict(tensors, batch_size=1), columns)


def asked_under_ray(recipe: Recipe, folder: Path, sent: list[DataProto]) -> list[dict[str, Any]]:
    """What our reward manager answers, in a worker of verl's, all asked at once; for responses of `byte_tokenizer`."""
    tokenizer, model = byte_tokenizer(), folder / "model"
    shutil.copytree(resolve("nano"), model)
    tokenizer.save_pretrained(model)
    GenerationConfig(eos_token_id=tokenizer.eos_token_id).save_pretrained(model)
    told = folder_of(recipe, folder) | {"actor_rollout_ref.model.path": str(model), "rlsp.trusted_code": False}
    ray.init(num_cpus=4, include_dashboard=False)
    try:
        worker = ray.remote(RewardLoopWorker).options(max_concurrency=ROLLOUTS).remote(runner.composed(told))
        answers: list[dict[str, Any]] = ray.get([worker.compute_score.remote(each) for each in sent], timeout=300)
        return answers
    finally:
        ray.shutdown()


def test_rewards_under_ray_are_the_native_engines(tmp_path: Path) -> None:
    """200 rollouts, hostile and hanging ones included, all asked at once; α stands where step 2 of 3 has it."""
    recipe = recipe_with("reward.schedule.kind=linear", "reward.schedule.end=1.0")
    tokenizer = byte_tokenizer()
    found = responses(recipe, tokenizer)
    answers = asked_under_ray(recipe, tmp_path, [as_verl_sends(*each) for each in found])
    problems = list({problem.id: problem for problem, _ in found}.values())
    alpha = alpha_at(recipe.reward, 0.5)
    assert alpha == 0.9
    expected = score(problems, [rollout for _, rollout in found], explorer_for(recipe), recipe.reward, alpha=alpha)
    assert len(answers) == ROLLOUTS
    unjudged = 0
    for (_, rollout), answer, native in zip(found, answers, expected, strict=True):
        info = answer["reward_extra_info"]
        theirs = from_json(Score, json.loads(info[SCORE]))
        assert info[RESPONSE] == list(rollout.response_ids)
        assert (theirs.verdict.correct, theirs.verdict.reason) == (native.verdict.correct, native.verdict.reason)
        assert theirs.exploration == native.exploration and theirs.alpha == native.alpha
        assert answer["reward_score"] == theirs.total == native.total
        unjudged += theirs.verdict.reason.unjudged
    assert unjudged > 0, "some hang"


def test_a_judge_is_asked_over_http_under_ray(tmp_path: Path) -> None:
    """As many requests at once as it may have, of the workers' threads together; held-out responses are not graded."""
    tokenizer = byte_tokenizer()
    with endpoint(lambda _, body: replace(graded(body, 5), seconds=0.3)) as server:
        recipe = recipe_with(f"exploration.judge={{base_url={server.url!r}, cache='none', concurrency=4}}")
        found = [as_verl_sends(*each) for each in responses(recipe, tokenizer)[:16]]
        found[0].non_tensor_batch["extra_info"][0]["held_out"] = True
        found[0].non_tensor_batch["tool_extra_fields"] = np.array([{LOGPROBS: []}], dtype=object)
        answers = asked_under_ray(recipe, tmp_path, found)
    scores = [from_json(Score, json.loads(answer["reward_extra_info"][SCORE])) for answer in answers]
    assert "judge" not in scores[0].exploration.parts
    assert all(each.exploration.parts["judge"] in (0.5, 0.0) for each in scores[1:]), "a blank response earns 0 unasked"
    assert len(server.asked) > 4 and server.most_open == 4


def test_advantages_are_the_native_engines() -> None:
    """What comes back from verl's queue gives the native engine's streams and advantages, to 1e-6."""
    recipe = recipe_with()
    policy = stages.open_policy("nano")
    problems = next(drawing.training_problems(recipe))
    with stages.reinforcing(policy, recipe) as training:
        training.probe = None
        assert training.learner.critic is not None
        torch.nn.init.normal_(training.learner.critic.head.weight, std=0.1)
        seen = training.observe(0, problems)
    experience, lengths = seen.experience, [each.length for each in seen.rollouts]
    index = {problem.id: number for number, problem in enumerate(problems)}
    asked = {problem.id: json.dumps(to_json(problem)) for problem in problems}

    def rows(framed_BR: torch.Tensor) -> list[torch.Tensor]:
        return [row[:length] for row, length in zip(framed_BR, lengths, strict=True)]

    fetched: dict[str, Any] = {
        "prompts": [torch.tensor(each.prompt_ids) for each in seen.rollouts],
        "responses": [torch.tensor(each.response_ids) for each in seen.rollouts],
        "rollout_log_probs": [torch.tensor(each.logprobs) for each in seen.rollouts],
        "old_log_probs": rows(experience.batch.logprobs_BR),
        "ref_log_prob": rows(experience.reference_logprobs_BR),
        "extra_info": [{"index": index[each.problem_id]} for each in seen.rollouts],
        "reward_model": [{"ground_truth": asked[each.problem_id]} for each in seen.rollouts],
        "extra_fields": [
            {"reward_extra_info": {SCORE: json.dumps(to_json(score)), TEXT: each.text, TRUNCATED: each.truncated}}
            for each, score in zip(seen.rollouts, seen.scores, strict=True)
        ],
    }
    fetched |= {field("values", stream): rows(each) for stream, each in enumerate(experience.values_SBR)}
    keys = [f"{each.problem_id.replace('_', '-')}_{each.sample}_0" for each in seen.rollouts]
    streams = streams_for(recipe.reward, explorer_for(recipe), recipe.rl.gamma)
    theirs = Seen(recipe, streams, fetched, keys, 0)
    assert theirs.rollouts == seen.rollouts and theirs.scores == seen.scores and list(theirs.problems) == problems
    found = estimate(theirs.batch, theirs.reference_logprobs_BR, theirs.values_SBR, recipe.rl)
    assert experience.advantages_BR.abs().max() > 0.1
    assert (found.advantages_BR - experience.advantages_BR).abs().max() <= 1e-6
    assert (found.returns_SBR - experience.returns_SBR).abs().max() <= 1e-6


def test_verls_own_gae_is_ours() -> None:
    """`mix = "reward"` goes through it: the same but for the variance, which verl divides by N − 1."""
    torch.manual_seed(0)
    rewards_BR, values_BR = torch.randn(6, 9), torch.randn(6, 9)
    mask_BR = torch.arange(9) < torch.tensor([9, 3, 7, 1, 5, 8])[:, None]
    theirs, returns = compute_gae_advantage_return(rewards_BR, values_BR, mask_BR.float(), 1.0, 0.95)
    ours, ours_returns = gae(rewards_BR, values_BR, mask_BR, 1.0, 0.95)
    tokens = int(mask_BR.sum())
    corrected = whiten(ours, mask_BR) * ((tokens - 1) / tokens) ** 0.5
    assert torch.allclose(theirs[mask_BR], corrected[mask_BR], atol=1e-6)
    assert torch.allclose(returns[mask_BR], ours_returns[mask_BR], atol=1e-6)


def test_without_verl_the_command_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'rlsp\[cluster\]'"):
        plan.checked(recipe_with())
