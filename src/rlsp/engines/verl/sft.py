"""SFT by verl's own trainer, on the tokens that the native engine would train on: `torchrun … -m rlsp.engines.verl.sft
FOLDER` does what the folder's settings say."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from torch.utils.data import Dataset
from verl.trainer.sft_trainer import SFTTrainer
from verl.utils.device import auto_set_device, get_torch_device
from verl.utils.distributed import destroy_global_process_group, initialize_global_process_group_ray

from rlsp.engines.verl.files import SETTINGS
from rlsp.engines.verl.runner import composed
from rlsp.files import read_json


class Demonstrations(Dataset):
    """Token sequences of a parquet file; the loss counts from `response_start` on."""

    def __init__(self, parquet_files: str, **_: Any) -> None:
        self.rows = pq.read_table(parquet_files).to_pylist()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids_T = torch.tensor(self.rows[index]["input_ids"])
        places_T = torch.arange(len(ids_T))
        mask_T = (places_T >= self.rows[index]["response_start"]).long()
        return {"input_ids": ids_T, "position_ids": places_T, "loss_mask": mask_T}


def main(folder: Path) -> None:
    config = composed(read_json(folder / SETTINGS), "sft_trainer_engine")
    auto_set_device(config)
    initialize_global_process_group_ray()
    get_torch_device().set_device(int(os.environ["LOCAL_RANK"]))
    SFTTrainer(config).fit()
    destroy_global_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
