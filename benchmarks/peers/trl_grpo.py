"""TRL's GRPOTrainer on the same problems, judged by the same verifier and paid by the same reward."""

from __future__ import annotations

import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from peers import accuracy, batches
from peers.protocol import Channel, Message
from rlsp.config import Recipe, load
from rlsp.engines.drawing import training_problems
from rlsp.exploration import explorer_for
from rlsp.optim import BETAS, FLOOR
from rlsp.prompts import decode_response, encode_prompt, instruct
from rlsp.reward import score
from rlsp.types import Finish, Rollout

channel = Channel()


class TakesTurns(TrainerCallback):
    """One optimizer step a request, or a measurement of the model between two steps."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.lengths: list[int] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        for request in channel.requests():
            if request["do"] == "step":
                self.lengths, self.started = [], time.perf_counter()
                return
            channel.answer(accuracy.measure(others["model"], others["processing_class"], self.recipe))
        raise SystemExit

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        channel.answer({"lengths": self.lengths, "seconds": time.perf_counter() - self.started})


def trainer(recipe: Recipe, microbatch: int, turns: TakesTurns) -> GRPOTrainer:
    tokenizer = AutoTokenizer.from_pretrained(recipe.model.path)
    model = AutoModelForCausalLM.from_pretrained(recipe.model.path, dtype=torch.float32)
    problems = {problem.id: problem for batch in training_problems(recipe) for problem in batch}
    prompts = {each.id: encode_prompt(tokenizer, each, instruct(each, recipe)) for each in problems.values()}
    explorer, stops = explorer_for(recipe), frozenset([tokenizer.eos_token_id])

    def reward(completion_ids: list[list[int]], problem_id: list[str], **others: Any) -> list[float]:
        turns.lengths += map(len, completion_ids)
        rollouts = [
            Rollout(
                problem_id=of,
                sample=index % recipe.rl.samples_per_prompt,
                prompt_ids=prompts[of].ids,
                response_ids=tuple(ids),
                logprobs=(0.0,) * len(ids),
                text=decode_response(tokenizer, ids, stops),
                finish=Finish.EOS if ids[-1] in stops else Finish.LENGTH,
                temperature=1.0,
                policy_version=0,
            )
            for index, (of, ids) in enumerate(zip(problem_id, completion_ids, strict=True))
        ]
        asked = [problems[of] for of in dict.fromkeys(problem_id)]
        return [each.total or 0.0 for each in score(asked, rollouts, explorer, recipe.reward)]

    rl, rollouts = recipe.rl, recipe.rl.rollouts_per_step
    steps = rl.steps * rollouts // rl.minibatch_rollouts
    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=microbatch,
        gradient_accumulation_steps=rl.minibatch_rollouts // microbatch,
        steps_per_generation=rollouts // microbatch,
        num_generations=rl.samples_per_prompt,
        max_completion_length=recipe.sampling.max_response_tokens,
        max_steps=steps,
        learning_rate=rl.actor_learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": FLOOR},
        warmup_steps=max(1, round(rl.warmup_share * steps)),
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        beta=rl.kl_coefficient,
        loss_type="grpo",
        max_grad_norm=rl.grad_clip,
        temperature=recipe.sampling.temperature,
        logging_steps=10**6,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=recipe.seed,
    )
    rows = [{"prompt": tokenizer.decode(list(prompts[of].ids)), "problem_id": of} for of in problems]
    made = GRPOTrainer(model, reward, args=config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    made.add_callback(turns)
    return made


def loss(trainer: GRPOTrainer, lengths: list[int], prompt: int) -> Message:
    """The loss that the trainer computes for a batch of made-up responses, and the norm of its gradient."""
    made = batches.make(lengths, prompt, trainer.model.config.vocab_size)
    trainer.current_gradient_accumulation_steps = 1
    value = trainer._compute_loss(
        trainer.model,
        {
            "prompt_ids": made.prompts_BP,
            "prompt_mask": torch.ones_like(made.prompts_BP),
            "completion_ids": made.responses_BR,
            "completion_mask": made.mask_BR.int(),
            "advantages": made.advantages_B,
        },
    )
    value.backward()
    gradients = [each.grad for each in trainer.model.parameters() if each.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients).item()
    trainer.model.zero_grad()
    return {"loss": value.item(), "gradient": norm}


if __name__ == "__main__":
    request = next(channel.requests())
    torch.set_num_threads(request["threads"])
    recipe = load(Recipe, request["recipe"], request["settings"])
    made = trainer(recipe, request["microbatch"], TakesTurns(recipe))
    channel.answer(loss(made, **request["batch"]) if "batch" in request else {})
    made.train()
