"""As much of Kaggle as the `kaggle` command needs, on 127.0.0.1, and with faults on demand.

The command knows no address but Kaggle's own and `http://localhost:80`, so this server is its HTTP proxy.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import loopback

Answer = Callable[["Handler"], None]

KEY = "0123456789abcdef" * 2
TOKEN = "KGAT_made_up"


class Call(NamedTuple):
    """One request to Kaggle's API."""

    name: str
    body: dict[str, Any]
    authorization: str


@dataclass
class Blob:
    """A file that is being uploaded."""

    name: str
    size: int
    content: bytes = b""


class Handler(loopback.Handler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"{}")
        name = urlsplit(self.path).path.rsplit("/", 1)[-1]
        self.server.calls.append(Call(name, body, self.headers["Authorization"] or ""))
        if fault := self.server.fault or self.server.faults.get(name):
            return self.send(*fault)
        if name == "DownloadDataset":
            return self.redirect(body)
        method = getattr(self.server, name, None)
        answer = method(body) if method else {"code": 404, "message": f"no {name}"}
        self.send(answer.get("code", 200), json.dumps(answer).encode(), "application/json")

    def do_PUT(self) -> None:  # noqa: N802
        """A part of an upload, or the question how much of it is here, as Google's storage takes them."""
        blob = self.server.blobs[urlsplit(self.path).path.rsplit("/", 1)[-1]]
        asked = (self.headers["Content-Range"] or "").startswith("bytes */")
        room = self.server.cuts.pop(0) if self.server.cuts and not asked and blob.name.endswith(".zip") else None
        length = int(self.headers["Content-Length"] or 0)
        if room is not None:
            length = min(length, max(room - len(blob.content), 0))
        if not self.server.released.is_set() and not asked and blob.name.endswith(".zip"):
            blob.content += self.rfile.read(length // 2)
            self.server.stalled.set()
            self.server.released.wait(20)
            self.close_connection = True
            return None
        if (fault := self.server.faults.get("PUT")) and not asked:
            self.rfile.read(length)
            return self.send(*fault)
        blob.content += self.rfile.read(length)
        if len(blob.content) == blob.size:
            return self.send(200, b"{}")
        if not asked:
            self.close_connection = True
            return self.send(400, b"cut")
        self.send_response(308)
        if blob.content:
            self.send_header("Range", f"bytes=0-{len(blob.content) - 1}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def redirect(self, body: dict[str, Any]) -> None:
        version = self.server.datasets.get(f"{body['ownerSlug']}/{body['datasetSlug']}", [{}])[-1]
        if body["fileName"] not in version:
            return self.send(404, b'{"code": 404, "message": "Not found"}', "application/json")
        self.server.files[body["fileName"]] = version[body["fileName"]]
        self.send_response(302)
        self.send_header("Location", f"{self.server.url}/files/{body['fileName']}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:  # noqa: N802
        path = unquote(urlsplit(self.path).path)
        with suppress(ConnectionError):  # the client went away
            if "/kernels/logs/stream/" in path:
                return self.stream()
            name = path.removeprefix("/files/")
            self.server.fetched.append(name)
            content = self.server.files[name]
            if callable(content):
                return content(self)
            self.send(200, content)

    def send(self, status: int, body: bytes, kind: str = "application/octet-stream", cut: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])

    def stream(self) -> None:
        """The log so far as server-sent events; the stream stays open as long as the server is held."""
        logs = self.server.logs
        events = logs.pop(0) if len(logs) > 1 else logs[0]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            self.chunk("data: " + json.dumps({"stream_name": "stdout", "time": 1.0, "data": event}) + "\n\n")
        self.server.stalled.set()
        self.server.released.wait(20)
        self.chunk("data: END_OF_LOG\n\n")
        self.chunk("")

    def chunk(self, text: str) -> None:
        self.wfile.write(f"{len(text.encode()):x}\r\n{text}\r\n".encode())


class Server(loopback.Server):
    """Answers what its attributes say; keeps all calls of the API, and the names of all files fetched."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.calls: list[Call] = []
        self.fetched: list[str] = []
        self.fault: tuple[int, bytes] | None = None
        """Status and body of every answer of the API."""
        self.faults: dict[str, tuple[int, bytes]] = {}
        """The same for one call of the API, by its name, or for uploads, which are PUT."""
        self.pushed: dict[str, Any] = {}
        """What differs from success in the answer to a push."""
        self.on_push: Callable[[str], None] = lambda slug: None
        """Called with the name of each kernel that is pushed."""
        self.states: list[dict[str, str]] = [{"status": "COMPLETE"}]
        """Taken in turn, the last for ever."""
        self.files: dict[str, bytes | Answer] = {}
        """The output, in this order."""
        self.page_size = 20
        self.logs: list[list[str]] = [[]]
        """What a stream of the log brings, taken in turn, the last for ever."""
        self.blobs: dict[str, Blob] = {}
        """Uploads by token."""
        self.cuts: list[int] = []
        """An upload breaks off when so many bytes are there, taken in turn."""
        self.datasets: dict[str, list[dict[str, bytes]]] = {}
        """The versions of each data set, as files by name."""
        self.dataset_states: list[str] = ["READY"]
        """States of data sets that are there, taken in turn, the last for ever."""
        self.refusal = ""
        """Why no data set is taken."""
        self.released.set()

    def environment(self, home: Path) -> dict[str, str]:
        """Variables under which the `kaggle` command talks to this server, and to nobody and as nobody else."""
        others = ("KAGGLE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "XDG_CONFIG_HOME")
        return {name: value for name, value in os.environ.items() if not name.upper().startswith(others)} | {
            "HOME": str(home),
            "TMPDIR": str(home),
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": self.url,
            "no_proxy": "127.0.0.1",  # downloads come straight
            "KAGGLE_USERNAME": "alice",
            "KAGGLE_KEY": KEY,
        }

    # The API.

    def IntrospectToken(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"active": True, "username": "alice"}

    def SaveKernel(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if not self.pushed.get("error"):
            self.on_push(body["slug"])
        lists = ("invalidTags", "invalidDatasetSources", "invalidCompetitionSources", "invalidKernelSources")
        address = f"https://www.kaggle.com/code/{body['slug']}"
        return {"url": address, "versionNumber": 3, "error": ""} | {key: [] for key in lists} | self.pushed

    def GetKernelSessionStatus(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def GetDatasetStatus(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if f"{body['ownerSlug']}/{body['datasetSlug']}" not in self.datasets:
            return {"code": 403, "message": "Permission 'datasets.get' was denied"}
        return {"status": self.dataset_states.pop(0) if len(self.dataset_states) > 1 else self.dataset_states[0]}

    def GetDatasetMetadata(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"info": {"datasetSlug": body["datasetSlug"], "ownerUser": body["ownerSlug"], "licenses": []}}

    def ListDatasetFiles(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        """The files of the newest version; Kaggle unpacks archives."""
        version = self.datasets[f"{body['ownerSlug']}/{body['datasetSlug']}"][-1]
        names = [name.replace(".zip", "/train/0.png") for name in version]
        return {
            "datasetFiles": [{"name": name, "totalBytes": 1, "creationDate": "2026-01-01T00:00:00Z"} for name in names]
        }

    def StartBlobUpload(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        token = f"blob-{len(self.blobs)}"
        self.blobs[token] = Blob(body["name"], int(body["contentLength"]))
        return {"token": token, "createUrl": f"{self.url}/upload/{token}"}

    def CreateDataset(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return self.version(f"{body['ownerSlug']}/{body['slug']}", body.get("files", []))

    def CreateDatasetVersion(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return self.version(f"{body['ownerSlug']}/{body['datasetSlug']}", body["body"]["files"])

    def version(self, name: str, files: list[dict[str, Any]]) -> dict[str, Any]:
        """A new version of a data set, from files that were uploaded to their ends."""
        if self.refusal or not files:  # kaggle 2.2.4 goes on without a file whose upload failed
            return {"status": "error", "error": self.refusal or "A data set must have a file."}
        blobs = [self.blobs[file["token"]] for file in files]
        assert all(len(blob.content) == blob.size for blob in blobs)
        self.datasets.setdefault(name, []).append({blob.name: blob.content for blob in blobs})
        return {"status": "ok", "url": f"https://www.kaggle.com/datasets/{name}", "error": ""}

    def ListKernelSessionOutput(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        start = int(body.get("pageToken") or 0)
        end = start + min(self.page_size, int(body.get("pageSize") or 20))
        files = [{"url": f"{self.url}/files/{quote(name)}", "fileName": name} for name in list(self.files)[start:end]]
        page: dict[str, Any] = {"files": files, "log": "" if start else json.dumps(self.logs[-1])}
        return page | ({"nextPageToken": str(end)} if end < len(self.files) else {})


def says(status: int, body: bytes, cut: int | None = None) -> Answer:
    """Any answer to a download; broken off after `cut` bytes, if that is given."""

    def answer(handler: Handler) -> None:
        handler.close_connection = cut is not None
        handler.send(status, body, cut=cut)

    return answer


def stalls(body: bytes) -> Answer:
    """Half of `body`, then silence until the server is released."""

    def answer(handler: Handler) -> None:
        handler.send(200, body, cut=len(body) // 2)
        handler.wfile.flush()
        handler.server.stalled.set()
        handler.server.released.wait(20)
        handler.close_connection = True

    return answer
