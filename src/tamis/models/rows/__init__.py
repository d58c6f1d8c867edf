"""How the sequences of a batch are laid out for a model: shared prefixes, packed, or padded rows.

Import from the modules: `tree` needs no torch.
"""
