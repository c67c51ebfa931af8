"""Functions of the user, named as ``package.module:function`` or ``file.py:function``."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..foundation.diagnostics import CompileError, fail

_NAMED = re.compile(r"(?P<file>.+\.py|[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")


def is_name(what: Any) -> bool:
    """Whether something names a function and is no file.

    >>> is_name(Path("my.data:batches")), is_name(Path("prepare.py:batches")), is_name(Path("data.npz"))
    (True, True, False)
    """
    return isinstance(what, Path) and _NAMED.fullmatch(str(what)) is not None and not what.exists()


def find(name: str, code: str = "SFN320") -> Any:
    """Return what is called ``package.module:function`` or ``file.py:function``. Raises ``code``.

    Modules are looked for where Python looks, and in the current folder at last.
    """
    found = _NAMED.fullmatch(name)
    if found is None:
        raise fail(code, f"{name!r} names no function", fix="write it as package.module:function or file.py:function")
    try:
        module = _from_file(Path(found["file"])) if found["file"].endswith(".py") else _module(found["file"])
        return getattr(module, found["name"])
    except (CompileError, KeyboardInterrupt):
        raise
    except Exception as error:  # whatever the user's own module raises while it is imported
        raise fail(code, f"it cannot be imported: {type(error).__name__}: {error}", name,
                   "run sfnc where Python finds the module, or give file.py:function") from error  # fmt: skip


def called(function: Callable[..., Any], name: str, *arguments: Any, code: str = "SFN320") -> Any:
    """Return what a function of the user returns. Raises ``code`` where it fails."""
    try:
        return function(*arguments)
    except CompileError:
        raise
    except Exception as error:  # whatever the user's own code raises
        raise fail(code, f"{type(error).__name__}: {error}", name, "it is your function that raised this") from error


def _module(name: str) -> Any:
    sys.path.append(str(Path.cwd()))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop()


def _from_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
