"""Step 3: reinforcement learning by PPO or a critic-free algorithm."""
