"""The key-value cache of the native sampler: rows that advance independently of each other, allocated once."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

LINE = 16
"""Numbers in a line of a processor's cache."""
KeysValues = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, [P, T, heads, dim]."""


class RowCache:
    """Keys and values of every layer, [rows, slots, heads, dim]. Slots that nothing was written to hold numbers:
    attention gives them no weight, and 0 times what memory happened to hold could be NaN.

    Args:
        memory: of a cache that is no longer used, to be used again.
    """

    def __init__(self, rows: int, slots: int, memory: Tensor | None = None) -> None:
        self.rows, self.slots, self.memory = rows, slots, memory
        self.layers: KeysValues = []
        self.lengths_R = torch.zeros(rows, dtype=torch.long)
        self._prompts_R = torch.full((rows,), -1)
        self._prompts = 0
        self._leaders_R: Tensor | None = None

    @property
    def leaders_R(self) -> Tensor:
        """The first row that holds the same prompt, of which the first `lengths_R` slots of both are."""
        if self._leaders_R is None:
            _, kinds_R = self._prompts_R.unique(return_inverse=True)
            places_R = torch.arange(self.rows)
            self._leaders_R = places_R.scatter_reduce(0, kinds_R, places_R, "amin", include_self=False)[kinds_R]
        return self._leaders_R

    def fill(self, rows: slice, prompts: KeysValues, places_B: Tensor, lengths_B: Tensor) -> None:
        """Copy prompts into rows, from slot 0 on: row i receives the first lengths_B[i] tokens of prompt places_B[i],
        and what pads them."""
        if not self.layers:
            self.layers = self._allocate(prompts)
        self.lengths_R[rows], self._prompts_R[rows] = lengths_B.cpu(), self._prompts + places_B.cpu()
        self._prompts, self._leaders_R = self._prompts + len(prompts[0][0]), None
        for own, others in zip(self.layers, prompts, strict=True):
            for ours, theirs in zip(own, others, strict=True):
                ours[rows, : theirs.shape[1]] = theirs[places_B]

    def put(self, layer: int, places: Places, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write one token's keys and values, [B, heads, dim].

        Returns:
            (keys, values) of these rows so far, [B, heads, width, dim], as views.
        """
        own_keys, own_values = self.layers[layer]
        own_keys[places.rows_B, places.positions_B] = keys
        own_values[places.rows_B, places.positions_B] = values
        count = len(places.rows_B)
        return own_keys[:count, : places.width].transpose(1, 2), own_values[:count, : places.width].transpose(1, 2)

    def move(self, source: Tensor, target: Tensor, width: int) -> None:
        """Copy rows onto rows, up to `width` slots."""
        for tensor in (self.lengths_R, self._prompts_R):
            tensor[target.cpu()] = tensor[source.cpu()]
        self._leaders_R = None
        for own in self.layers:
            for tensor in own:
                tensor[target, :width] = tensor[source, :width]

    def _allocate(self, prompts: KeysValues) -> KeysValues:
        """In one piece, which can be handed on as a whole. On a CPU by numpy, whose zeros take no memory before they
        are written to, from the start of a processor's cache line on: a vector across two is read twice."""
        like = prompts[0][0]
        shapes = [(self.rows, self.slots, *each.shape[2:]) for layer in prompts for each in layer]
        sizes = [math.prod(shape) for shape in shapes]
        total, kind = sum(sizes), (like.device, like.dtype)
        if self.memory is None or len(self.memory) < total or (self.memory.device, self.memory.dtype) != kind:
            self.memory = None  # before the new one is allocated
            if like.device.type == "cpu" and like.dtype == torch.float32:
                zeros = np.zeros(total + LINE, np.float32)
                first = -zeros.ctypes.data // zeros.itemsize % LINE
                self.memory = torch.from_numpy(zeros[first : first + total])
            else:
                self.memory = like.new_zeros(total)
        pieces = self.memory[:total].split(sizes)
        parts = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
        return list(zip(parts[::2], parts[1::2], strict=True))


class Places:
    """Where the next token of each of the first B rows goes, and what it sees.

    Attributes:
        width: slots that the longest of the rows holds with its new token.
        mask_B11S: 0 for what the new token sees of the first `width` slots, the lowest number for what it does not.
    """

    def __init__(self, positions_B: Tensor, dtype: torch.dtype) -> None:
        self.positions_B = positions_B
        self.rows_B = torch.arange(len(positions_B), device=positions_B.device)
        self.width = int(positions_B.max()) + 1
        hidden_BS = torch.arange(self.width, device=positions_B.device) > positions_B[:, None]
        mask_BS = torch.zeros(hidden_BS.shape, dtype=dtype, device=positions_B.device)
        self.mask_B11S = mask_BS.masked_fill_(hidden_BS, torch.finfo(dtype).min)[:, None, None]
