"""Hugging Face `generate`: one padded batch."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from peers.protocol import Channel, Message


class Generate:
    def load(self, model: str, threads: int) -> Message:
        torch.set_num_threads(threads)
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(Path(model))
        self.eos, self.pad = tokenizer.eos_token_id, tokenizer.pad_token_id or tokenizer.eos_token_id
        return {}

    @torch.inference_mode()
    def rollouts(self, prompts: list[list[int]], samples: int, new_tokens: int, ragged: bool, seed: int) -> Message:
        torch.manual_seed(seed)
        prompts = [prompt for prompt in prompts for _ in range(samples)]
        width = max(map(len, prompts))
        ids = torch.tensor([[self.pad] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        config = GenerationConfig(
            max_new_tokens=new_tokens,
            do_sample=True,
            top_k=0,
            eos_token_id=self.eos if ragged else None,
            pad_token_id=self.pad,
        )
        out = self.model.generate(input_ids=ids, attention_mask=mask, generation_config=config)[:, width:]
        if not ragged:
            return {"lengths": [out.shape[1]] * len(out)}
        ended = (out == self.eos).int().cumsum(1)
        return {"lengths": ((ended == 0) | ((ended == 1) & (out == self.eos))).sum(1).tolist()}


if __name__ == "__main__":
    peer = Generate()
    Channel().serve({"load": peer.load, "rollouts": peer.rollouts})
