"""What back-end authors need to prove their work: :mod:`sfn_compile.testing.conformance`."""
