"""The same rewards inside trainers that are not ours."""
