"""The page on which people judge suspicious pairs; what they say becomes verdicts and labels."""
