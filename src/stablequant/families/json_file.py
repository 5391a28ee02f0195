"""Read one of a checkpoint's JSON files, or say which file is damaged and how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stablequant.errors import ModelError


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``.

    Raises:
        ModelError: The file cannot be read, is not JSON, or holds something else than an object.
        FileNotFoundError: There is no such file; what that means is for the caller to say.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except OSError as error:
        what = f"{path} cannot be read ({error.strerror or error})"
        raise ModelError(what, fix="check the file and its permissions") from error
    # Besides syntax and encoding: integers of more digits than Python converts, and brackets nested too deeply.
    except (ValueError, RecursionError) as error:
        what = f"{path} is not valid JSON ({error})"
        raise ModelError(what, fix="download the file again") from error
    if not isinstance(value, dict):
        what = f"{path} holds a JSON {type(value).__name__}"
        raise ModelError(what, expected="an object, { ... }", fix="download the file again")
    return value


def read_object_if_there(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``, empty where there is no such file.

    Raises:
        ModelError: As `read_object`.
    """
    try:
        return read_object(path)
    except FileNotFoundError:
        return {}
