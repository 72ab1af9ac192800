"""Step 3: reinforcement learning by PPO."""
