"""How models reason, measured: how often behaviours are shown, what thinking costs, what is new, what helps."""
