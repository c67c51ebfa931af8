"""What the tests of the command line share: the demo network, and `sfnc` run in this process."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from click.testing import CliRunner, Result

from sfn_compile.cli.main import cli
from sfn_compile.files import build_folder, sealed

MODELS = Path(__file__).parents[2] / "models"
DIGITS, CALIB, TEST = MODELS / "digits.onnx", MODELS / "digits_calib.npz", MODELS / "digits_test.npz"
CLOCK = {"timing.json"}


def sfnc(*args: object) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(cli, [str(a) for a in args])


def succeeds(*args: object) -> Result:
    done = sfnc(*args)
    assert done.exit_code == 0, done.output
    return done


def refused(code: str, exit_code: int, *args: object) -> str:
    """The message of a command that must fail with this code and exit status."""
    done = sfnc(*args)
    assert done.exit_code == exit_code, done.output
    assert code in done.stderr
    assert "Traceback" not in done.output
    return done.stderr


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def document(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def reseal(folder: Path, **facts: object) -> None:
    """Write the manifest anew over the files as they are now: what no sha256 can find is then found otherwise."""
    old = sealed.read_manifest(folder)
    kept = {key: value for key, value in old.items() if key not in ("files", sealed.SEAL)}
    build_folder.write_manifest(folder, {**kept, **facts})
