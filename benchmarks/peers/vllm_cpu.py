"""vLLM's build for CPUs, which works in processes of its own: their memory is not seen from here."""

from __future__ import annotations

from vllm import LLM, SamplingParams

from peers.protocol import Channel, Message


class Vllm:
    def load(self, model: str, threads: int) -> Message:
        self.llm = LLM(model, dtype="float32", max_model_len=1024, max_num_seqs=256)
        return {}

    def rollouts(self, prompts: list[list[int]], samples: int, new_tokens: int, ragged: bool, seed: int) -> Message:
        settings = SamplingParams(
            n=samples,
            temperature=1.0,
            max_tokens=new_tokens,
            ignore_eos=not ragged,
            logprobs=0,
            detokenize=False,
            seed=seed,
        )
        outputs = self.llm.generate([{"prompt_token_ids": each} for each in prompts], settings, use_tqdm=False)
        lengths = [len(sample.token_ids) for each in outputs for sample in each.outputs]
        return {"lengths": lengths, "peak_bytes": None}


if __name__ == "__main__":
    peer = Vllm()
    Channel().serve({"load": peer.load, "rollouts": peer.rollouts})
