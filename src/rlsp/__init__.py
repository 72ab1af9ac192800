"""RLSP: turn a language model into a reasoning model by reinforcement learning via self-play (arXiv 2502.06773)."""

__version__ = "0.1.0"
