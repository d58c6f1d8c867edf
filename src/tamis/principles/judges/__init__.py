"""Judges, one module each, with the function ``judge(pairs, principles, *, task)``.

`length` reads no text, `scores` reads a file, `endpoint` asks a chat model. A dotted path names a
module of your own.
"""
