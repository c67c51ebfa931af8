"""Templates: the files of this folder (but this one) are copied into every emitted Lava folder as they are.

sfnc itself imports only :mod:`guard` and :mod:`layout`, which need nothing beyond NumPy; ``lava`` is imported by the
copies, in their own interpreter.
"""
