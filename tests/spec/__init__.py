"""The specification put to the test: programs that know nothing but ``docs/spec/``."""
