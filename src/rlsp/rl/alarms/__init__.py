"""Reward hacking, noticed while it happens: measures of every step, rules over windows of steps, and the rollouts that
prove it. docs/alarms.md says what each alarm means."""

from __future__ import annotations

from rlsp.rl.alarms.watch import Watch

__all__ = ["Watch"]
