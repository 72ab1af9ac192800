"""The nano world: a small model and its pretraining text, where the paper's questions can be asked in minutes."""
