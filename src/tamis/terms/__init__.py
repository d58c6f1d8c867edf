"""Terms of the objective, one module each: what training minimises beside the base loss.

A module has ``Settings``, a `TermSettings` with the keys that a recipe may set, and
``loss(view, *, settings) -> loss_B``, per pair, unreduced, not weighted (see `tamis.terms.view`).
A term that needs more of a pair than its scores also has
``columns(known, *, settings, seed) -> {name: float32 array [N]}``, computed once before training.
Where these come from a model, ``reads(settings) -> {setting: path}`` names it: when its files
change, what was trained with it is trained anew.

``needs(settings) -> {"views", "tokens"}``, or one of them, asks for more of a batch: what the
output layer reads, in two views, or all tokens with their states. ``module(beginning, *, settings)
-> nn.Module`` makes a part that is trained with the model, is kept in its resumable checkpoints,
and is not in the final one.
"""
