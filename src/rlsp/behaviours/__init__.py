"""What the reasoning does: backtracking, verification, alternatives."""
