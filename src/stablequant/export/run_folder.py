"""The folder of a run as one unit: built aside, put in place together, with a manifest that says what belongs together.

``manifest.json`` holds the SHA-256 and size of every file that was handed over, that of the plan that they come from
first. It is set aside before the first file is replaced, with the new files listed beside the old, and written anew after
the last. So a folder in between has none, and is refused; and the next run knows which of its files a killed one left.
What a run needs to go on (journal, histograms) lies beside it and is not part of it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stablequant.errors import DataError, ModelError, SettingsError
from stablequant.files import disk_errors, file_digest, write_text
from stablequant.runtime.registry import data_of

MANIFEST, PLAN = "manifest.json", "plan.json"
#: Files of a folder in between, each with all that it may be: the old and the new.
BETWEEN = "manifest.json.between"
LOCK = "stablequant.lock"
#: Where files are built before they are put in place.
ASIDE = "unverified"
#: What a run keeps to go on from; its presence tells that a folder is a run's.
WORK = (
    "trials.sqlite",
    "trials.sqlite.lock",
    "activations.npz",
    "unfolded.npz",
    "moments.safetensors",
    "factors.safetensors",
    "codes",
    LOCK,
)
#: Folders and files that a killed run can leave.
LEFTOVERS = (ASIDE, "float", "*.part", "*.partial")


class RunFolder:
    """A run's folder while a command writes to it, which no other command then may.

    Attributes:
        path: The folder.
        aside: Where to build what `publish` puts in place.
    """

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is written yet."""
        self.path = path
        self.aside = path / ASIDE

    @contextmanager
    def held(self, *, wait: bool = False) -> Iterator[RunFolder]:
        """Hold the folder for the life of the context, with ``wait`` once another command has let it go; clean it first.

        Raises:
            DataError: Another command holds it.
            SettingsError: It is somebody else's: it has files, and none that a run leaves.
            ResourceError: It cannot be written.
        """
        require_ours(self.path)
        with alone(self.path, wait=wait):
            self._clean()
            yield self

    def publish(self, *, more: bool = False) -> list[Path]:
        """Put the files that were built aside in place, and the manifest last; returns where they are.

        A file of the folder that is not as a run left it, a model card that somebody wrote on, is kept beside the new one
        as ``NAME.orig``.

        Args:
            more: They come from the plan that is there, and are added; else all that is there goes.
        """
        old = read_manifest(self.path) or {"files": self._of_before_manifests()}
        new = {p.name: _entry(p) for p in sorted(self.aside.iterdir())}
        kept = old["files"] if more else {}
        with disk_errors(self.path):
            left = self._left(old["files"], new)
            write_text(self.path / BETWEEN, json.dumps(left))
            if more:  # all other files stay as they are, and usable whenever this is killed
                self._list({name: entry for name, entry in kept.items() if name not in new})
            else:
                (self.path / MANIFEST).unlink(missing_ok=True)
            for name in new if more else left:
                self._make_room(name, left[name])
            for name in new:
                (self.aside / name).replace(self.path / name)
            self.aside.rmdir()
        self._list({**kept, **new})
        (self.path / BETWEEN).unlink(missing_ok=True)
        return [self.path / name for name in new]

    def _list(self, files: dict[str, dict[str, Any]]) -> None:
        """Write the manifest."""
        content = {"schema_version": 1, "plan": files[PLAN]["sha256"], "files": files}
        write_text(self.path / MANIFEST, json.dumps(content, indent=1) + "\n")

    def _left(self, *listed: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        """All that runs left under each name: what is ``listed``, and what a run that was killed in between had listed."""
        try:
            found = json.loads((self.path / BETWEEN).read_text(encoding="utf-8"))
            left = {name: list(entries) for name, entries in found.items() if Path(name).name == name}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            left = {}  # none was killed there; or its list is lost, and what it left is kept as somebody's
        for files in listed:
            for name, entry in files.items():
                left.setdefault(name, []).append(entry)
        return left

    def _of_before_manifests(self) -> dict[str, dict[str, Any]]:
        """What a run of a version without manifests left: all that is there but its work."""
        if not _before_manifests(self.path):
            return {}
        return {
            p.name: _entry(p) for p in sorted(self.path.iterdir()) if p.is_file() and p.name not in (BETWEEN, *WORK)
        }

    def _make_room(self, name: str, entries: list[dict[str, Any]]) -> None:
        """Take away a file that is as a run left it, and put aside one that is somebody's."""
        path = self.path / name
        if not path.is_file():
            return
        if _entry(path) in entries:
            path.unlink()
            return
        number, kept = 1, path.with_name(f"{name}.orig")
        while kept.exists():
            number, kept = number + 1, path.with_name(f"{name}.orig{number + 1}")
        path.replace(kept)

    def _clean(self) -> None:
        """Take away what a killed run left."""
        with disk_errors(self.path):
            for pattern in LEFTOVERS:
                for path in self.path.glob(pattern):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def alone(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder, which is made if it is not there, for the life of the context.

    Raises:
        DataError: Another command holds it, and it is not to be waited for.
        ResourceError: It cannot be written.
    """
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / LOCK)
    with disk_errors(path):
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout as error:  # an OSError, which disk_errors would tell as a disk's
            what = f"{path} is held by another run"
            raise DataError(what, fix="wait for it (--wait), or choose another output folder") from error
    try:
        yield
    finally:
        lock.release()


def require_ours(path: Path, checkpoint: Path | None = None) -> None:
    """Raise SettingsError unless a run may write to ``path``: it is new, empty, or a run's own, and no checkpoint.

    Args:
        path: The folder.
        checkpoint: Of the model that is quantised.
    """
    if checkpoint is not None and path.exists() and path.resolve() == checkpoint.resolve():
        what = f"--out {path} is the checkpoint's own folder"
        raise SettingsError(what, expected="a folder for what the run writes", fix="choose another --out")
    if path.exists() and not path.is_dir():
        what = f"--out {path} is a file"
        raise SettingsError(what, expected="a folder", fix="choose another --out")
    if path.is_dir() and any(path.iterdir()) and not _is_a_runs(path):
        what = f"--out {path} has files that no run left there"
        raise SettingsError(
            what, expected="a new or empty folder, or one of an earlier run", fix="choose another --out"
        )


def require_whole(folder: Path, files: Sequence[Path]) -> None:
    """Raise ModelError unless the plan in ``folder`` and ``files`` were handed over together, by their SHA-256.

    So are the weights that lie beside ``files``.

    Folders of a version that wrote no manifest, which their plan tells, are taken as they are.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        if _before_manifests(folder):
            return
        what = f"{folder} has no {MANIFEST}: the run that writes it has not ended"
        fix = "run the same stablequant quantize again: it goes on where it was"
        raise ModelError(what, expected="a finished run", fix=fix)
    beside = [data_of(path) for path in files if data_of(path).name in manifest["files"]]
    for path in (folder / PLAN, *files, *beside):
        entry = manifest["files"].get(path.name)
        if entry is None:
            what = f"{path} does not belong to this run"
            raise ModelError(what, expected=f"a file that {folder / MANIFEST} lists", fix=_AGAIN)
        if not path.is_file() or entry != _entry(path):
            what = f"{path} is {'damaged, or of another run' if path.is_file() else 'missing'}"
            raise ModelError(what, expected=f"the file whose SHA-256 {folder / MANIFEST} lists", fix=_AGAIN)


def _before_manifests(folder: Path) -> bool:
    try:
        found = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        return bool(found["schema_version"] == 1)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


_AGAIN = "run the same stablequant quantize, or stablequant export, again"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a run; ``None`` where there is none.

    Raises:
        ModelError: It is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        files = {
            str(name): {"sha256": str(e["sha256"]), "bytes": int(e["bytes"])} for name, e in found["files"].items()
        }
        # A run's files lie in its folder: what else a manifest names would be replaced or taken away there.
        if strange := [name for name in files if name in ("", ".", "..") or set(name) & set("/\\\0")]:
            what = f"{strange[0][:100]!r} is no file name"
            raise ValueError(what)
        if files[PLAN]["sha256"] != found["plan"]:
            what = f"it lists another {PLAN} than the one that its files come from"
            raise ValueError(what)
        return {"plan": str(found["plan"]), "files": files}
    # An infinite number of bytes is an OverflowError.
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError, OverflowError) as error:
        what = f"{path} is damaged ({type(error).__name__}: {error})"
        raise ModelError(what, expected="the manifest that a run wrote", fix=_AGAIN) from error


def _is_a_runs(path: Path) -> bool:
    return any((path / name).is_file() for name in (MANIFEST, BETWEEN, *WORK))


def _entry(path: Path) -> dict[str, Any]:
    return {"sha256": file_digest(path), "bytes": path.stat().st_size}
