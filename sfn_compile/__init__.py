"""sfnc: trained networks to integer spiking networks that answer in one timestep, proved equal on every target.

From Python::

    from sfn_compile import compile, load
    net = compile("model.onnx", "out", targets="sim,nir", calib="data.npz")
    assert net.verify()
    y = load("out")(x)

Type checkers read ``__init__.pyi``, where ``compile`` has every option.
"""

from __future__ import annotations

from typing import Any

from .foundation.version import __version__

__all__ = ["Network", "Program", "__version__", "compile", "load"]


def __getattr__(name: str) -> Any:
    if name == "Program":  # imported when asked for: the package itself must stay light for `sfnc --help`
        from .program.network import Program

        return Program
    if name == "Network":
        from .api.network import Network

        return Network
    if name in ("compile", "load"):
        from . import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
