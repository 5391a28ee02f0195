"""Models by hub id, from a server that answers as the hub does: what is fetched, and what is told where nothing can be."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from altered import refusal
from safetensors.torch import load_file, save_file
from support import GRAFT

from stablequant.families.checkpoint import fingerprint
from stablequant.families.folder import model_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
NAMES = {"main": COMMIT, COMMIT: COMMIT, "refs/pr/1": OTHER, OTHER: OTHER}


class Hub(BaseHTTPRequestHandler):
    """The endpoints of the hub that a download needs: what a revision holds, and its files (hf.co/docs/hub/api)."""

    root: Path
    asked: list[str]

    def log_message(self, *_: object) -> None:
        """Write no log."""

    def do_HEAD(self) -> None:
        """A file's headers."""
        self.do_GET()

    def do_GET(self) -> None:
        """A file, or what there is of a model."""
        path = self.path.split("?")[0].replace("%2F", "/")
        self.asked.append(path)
        if path.startswith("/api/models/"):
            owner, name, *rest = path.removeprefix("/api/models/").split("/")
            revision = "/".join(rest[1:]) or "main"
            if name == "gated":
                return self.refuse(403, "GatedRepo")
            if not any((self.root / commit / owner / name).is_dir() for commit in (COMMIT, OTHER)):
                return self.refuse(404, "RepoNotFound")
            folder = self.root / NAMES.get(revision, "") / owner / name
            if revision not in NAMES or not folder.is_dir():
                return self.refuse(404, "RevisionNotFound")
            files = sorted(folder.iterdir())
            if rest[0] == "tree":
                tree = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": f.name} for f in files]
                return self.answer(json.dumps(tree).encode(), {"Content-Type": "application/json"})
            siblings = [{"rfilename": file.name} for file in files]
            found = {"id": f"{owner}/{name}", "sha": NAMES[revision], "siblings": siblings}
            return self.answer(json.dumps(found).encode(), {"Content-Type": "application/json"})
        _, owner, name, _, revision, file = path.split("/", 5)
        content = (self.root / NAMES[revision] / owner / name / file).read_bytes()
        etag = hashlib.sha1(content).hexdigest()
        return self.answer(content, {"ETag": f'"{etag}"', "X-Repo-Commit": NAMES[revision]})

    def answer(self, content: bytes, headers: dict[str, str], code: int = 200) -> None:
        self.send_response(code)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def refuse(self, code: int, reason: str) -> None:
        self.answer(b"{}", {"X-Error-Code": reason, "X-Error-Message": reason}, code)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """A hub with a model in one file, one in shards, and one that is pickled but for a conversion in a pull request."""

    class Here(Hub):
        root = tmp_path / "hub"
        asked: list[str] = []

    def put(name: str, commit: str = COMMIT, without: tuple[str, ...] = ()) -> Path:
        folder = Here.root / commit / name
        shutil.copytree(GRAFT, folder, ignore=shutil.ignore_patterns(*without))
        return folder

    (put("me/graft") / "pytorch_model.bin").write_bytes(b"pickled")
    sharded = put("me/sharded", without=("model.safetensors",))
    (sharded / "model.fp32-00001-of-00001.safetensors").write_bytes(b"of another save")
    weights = load_file(GRAFT / "model.safetensors")
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[:60], "model-00002-of-00002.safetensors": names[60:]}
    for file, own in parts.items():
        save_file({name: weights[name] for name in own}, sharded / file)
    index = {"weight_map": {name: file for file, own in parts.items() for name in own}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    (put("me/pickled", without=("model.safetensors",)) / "pytorch_model.bin").write_bytes(b"pickled")
    put("me/pickled", OTHER)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Here)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = "{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", f"{url}/{template}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    yield Here
    server.shutdown()
    server.server_close()


def fetched(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_model_of_the_hub_is_the_folder_s_and_pickles_stay_there(hub: type[Hub]) -> None:
    folder = model_folder("me/graft")
    assert fingerprint(folder) == fingerprint(GRAFT)
    assert fetched(folder) == {path.name for path in GRAFT.iterdir()} - {"README.md"}
    assert not any("pytorch_model.bin" in path for path in hub.asked)
    # Once fetched it needs no hub.
    assert model_folder(f"me/graft@{COMMIT}") == folder


def test_of_shards_those_are_fetched_that_the_index_names(hub: type[Hub]) -> None:
    names = {name for name in fetched(model_folder("me/sharded")) if name.endswith(".safetensors")}
    assert names == {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}


def test_what_is_only_pickled_is_refused_and_its_conversion_taken(hub: type[Hub]) -> None:
    message = refusal("me/pickled")
    assert message.startswith("me/pickled has neither model.safetensors nor model.safetensors.index.json on the hub.")
    assert "id@refs/pr/1" in message and "\n" not in message
    assert fingerprint(model_folder("me/pickled@refs/pr/1")) == fingerprint(GRAFT)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "me/typo",
            "me/typo is no folder here, and no model that could be fetched from the hub (the hub knows no such model",
        ),
        (
            "me/gated",
            "me/gated is gated on the hub: its owner gives it to those who ask. Expected a model that you may",
        ),
        ("me/graft@v9", "me/graft@v9: the hub has the model, and no revision of that name. Expected id@revision"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_each_reason_has_its_own_line(name: str, told: str) -> None:
    message = refusal(name)
    assert message.startswith(told)
    assert "\n" not in message
