"""Averages of the weights of reward models that were trained from the same weights (WARM)."""
