"""Event recordings: a folder of them, whose folders name the classes, a file with several, or a single one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..files.sample_files import Data, choice, file_sha256, labels_of
from ..foundation.diagnostics import fail
from .event_frames import binning_of
from .folders import files_in, is_one, labels_by_folder, name_of, sha256_of_files
from .gather import gathered
from .given import Asked, held
from .images import SUFFIXES as IMAGES
from .recordings import Recording, has_events, opened

CAMERAS, NUMPY = (".bin", ".aedat4"), (".npz", ".npy")
SUFFIXES = (*CAMERAS, *NUMPY)


def takes(what: Any) -> bool:
    """Whether something is an event recording, or a folder in which there are more of them than images."""
    if not isinstance(what, Path) or not what.exists():
        return False
    if not what.is_dir():
        return _is_recording(what)
    files = list(files_in(what, (*SUFFIXES, *IMAGES)))
    recordings = [file for file in files if not is_one(file, IMAGES)]
    return 2 * len(recordings) > len(files) and any(map(_is_recording, recordings))


def _is_recording(file: Path) -> bool:
    return file.is_file() and (is_one(file, CAMERAS) or (is_one(file, NUMPY) and has_events(file)))


def read(what: Path, asked: Asked) -> Data:
    """Return recordings as samples of the model's only input: counts of events, frame by frame.

    Labels are those of the file, or the names of a folder's folders. Raises SFN315 to SFN318, SFN605, SFN613; SFN307
    where labels are needed and those of the file cannot be used.
    """
    binning = binning_of(asked, what)
    folder = what.is_dir()
    files = sorted(files_in(what, SUFFIXES)) if folder else [what]
    whole = None if folder else opened(what)
    n = len(files) if whole is None else whole.n
    places = choice(n, asked.samples, asked.seed)
    chosen = range(n) if places is None else places.tolist()
    into = gathered(asked.inputs)[binning.source.name]
    for done, i in enumerate(chosen, 1):
        into.add(binning.sample(whole.get(i) if whole is not None else _only(files[i]))[None])
        asked.progress("read events", done, len(chosen))
    x = {binning.source.name: into.array()}
    if whole is None:
        some = [files[i] for i in chosen]
        labels, classes = labels_by_folder(what, files, some)
        return Data(x, labels, what.name, sha256_of_files(some, what), "folders",
                    tuple(name_of(file, what) for file in some), classes, binning.as_dict())  # fmt: skip
    known = None if whole.labels is None else held(whole.labels)
    labels = None if known is None else labels_of(known, whole.label_name, n, places, what, asked.needs_labels)
    names = tuple(f"{what.name} [{i}]" for i in chosen)
    return Data(x, labels, what.name, file_sha256(what), whole.label_name, names, (), binning.as_dict())


def _only(file: Path) -> Recording:
    """Return the recording of a file in a folder. Raises SFN315 where it holds several."""
    found = opened(file)
    if found.n != 1:
        what = f"it holds {found.n} recordings; in a folder every file is one"
        raise fail("SFN315", what, str(file), "give the file itself")
    return found.get(0)
