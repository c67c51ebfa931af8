"""The options of the target `nir`, beside its package: ``sfnc compile --help`` reads this, and loads nothing else."""

from __future__ import annotations

from sfn_compile.foundation.declaration import Option

FORM = Option(
    name="form",
    default="binary",
    choices=("binary", "unary", "sar"),
    flags=("--nir-form",),
    help="How neurons are written in standard nodes of NIR.",
    note="`unary` and `sar` are smaller but run in nirtorch only ([what each is](spec/targets.md)).",
)

OPTIONS = (FORM,)
