"""A machine that is too small is told as that, not as a bug."""

from __future__ import annotations

from .cli_helpers import DIGITS, sfnc


def test_a_network_larger_than_the_memory_ends_in_a_code(monkeypatch):
    def greedy(*_arguments: object) -> None:
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr("sfn_compile.commands.check.check", greedy)
    done = sfnc("check", DIGITS)
    assert done.exit_code == 5
    assert "SFN606: the machine's memory does not suffice (Unable to allocate 9 TiB)" in done.stderr
