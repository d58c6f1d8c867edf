"""Terms of the objective, one module each: what training minimises beside the base loss.

A module has ``Settings``, a `TermSettings` with the keys that a recipe may set, and
``loss(view, *, settings) -> loss_B``, per pair, unreduced, not weighted (see `tamis.terms.view`).
A term that needs more of a pair than its scores also has
``columns(known, *, settings, seed) -> {name: float32 array [N]}``, computed once before training.
Where these come from a model, ``reads(settings) -> {setting: path}`` names it: when its files
change, what was trained with it is trained anew.
"""
