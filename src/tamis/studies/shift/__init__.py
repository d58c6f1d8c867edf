"""The shift study: what keeps a reward model right away from the data that it was trained on."""
