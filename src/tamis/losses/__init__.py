"""Base losses, one module each: ``name(gap_B, *, setting=default) -> loss_B``, per pair, unreduced.

The function has the module's name. It receives the gap that counts (delta minus margin), is finite
for gaps up to 1e4 in size, and knows nothing of targets, weights or policies: `reduce` does.
Keyword arguments with a default are its settings. A loss of rankings also has ``winner_B``, without
a default: which of the batch's texts is the better side of each pair. The module's constant
``BOUNDED`` says whether the loss stays finite however large the gap, in either direction: one
label, however wrong, then has a limited say.
"""
