"""As much of the Hugging Face Hub and of Kaggle's models as their packages need, on 127.0.0.1, and faults on demand."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import loopback

from p2plib.hub import manifest

HF_TOKEN = "hf_made_up_for_tests"
KAGGLE_TOKEN = "KGAT_made_up_for_tests"


def listing(files: dict[str, bytes], folder: Path) -> bytes:
    """The manifest of these files; `folder` is for scratch."""
    entries = []
    for name, content in files.items():
        (folder / "one").write_bytes(content)
        entries.append(manifest.describe(folder / "one", name))
    return manifest.to_json(entries).encode()


@dataclass
class Fault:
    """What happens to requests that match, instead of the usual."""

    match: str
    """Regular expression for "METHOD /path"."""
    status: int | None = None
    cut: float | None = None
    """The share of the body after which the connection is closed."""
    times: int = 10**6
    body: bytes = b"{}"
    kind: str = "application/json"


class Handler(loopback.Handler):
    server: Server
    protocol_version = "HTTP/1.1"

    def handle_one(self) -> None:
        self.path = unquote(urlsplit(self.path).path)  # of a proxy, the whole address is asked
        line = f"{self.command} {self.path}"
        self.server.requests.append(line)
        fault = next((f for f in self.server.faults if f.times and re.search(f.match, line)), None)
        if fault:
            fault.times -= 1
        size = int(self.headers.get("Content-Length") or 0)
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while length := int(self.rfile.readline(), 16):
                body += self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
        elif fault and fault.cut is not None and self.command in ("PUT", "POST"):
            self.server.begun(self, self.rfile.read(int(size * fault.cut)))
            self.close_connection = True
            return
        else:
            body = self.rfile.read(size)
        self.cut = fault.cut if fault else None
        with suppress(ConnectionError):  # the client went away
            if fault and fault.status:
                return self.send(fault.status, fault.body, {"Content-Type": fault.kind})
            self.server.answer(self, body)

    do_GET = do_HEAD = do_POST = do_PUT = handle_one  # noqa: N815

    def send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if self.cut is None else body[: int(len(body) * self.cut)])
        self.close_connection = self.cut is not None

    def json(self, values: object, status: int = 200) -> None:
        self.send(status, json.dumps(values).encode(), {"Content-Type": "application/json"})

    def file(self, content: bytes, headers: dict[str, str] | None = None) -> None:
        """A file, or what is left of it."""
        headers = {"Accept-Ranges": "bytes"} | (headers or {})
        wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send(206 if wanted else 200, content[start:], headers)


class Server(loopback.Server):
    """Answers by `answer`, unless a fault matches; keeps the first lines of all requests."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.requests: list[str] = []
        self.faults: list[Fault] = []

    def asked(self, pattern: str) -> int:
        """How many requests match."""
        return sum(bool(re.search(pattern, line)) for line in self.requests)

    def begun(self, handler: Handler, body: bytes) -> None:
        """Take the beginning of an upload that broke off."""

    def answer(self, handler: Handler, body: bytes) -> None:
        raise NotImplementedError


@dataclass
class Repo:
    """A repository: the files after each commit."""

    private: bool
    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{".gitattributes": b""}])
    notes: list[str] = field(default_factory=lambda: ["initial commit"])

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1]

    def sha(self, index: int = -1) -> str:
        index %= len(self.commits)
        return hashlib.sha1(f"{index} {sorted(self.commits[index])}".encode()).hexdigest()

    def at(self, revision: str) -> int | None:
        """Index of the commit called `main`, or by its hash."""
        if revision == "main":
            return len(self.commits) - 1
        return next((i for i in range(len(self.commits)) if self.sha(i) == revision), None)


class HuggingFace(Server):
    """Repositories of the user alice; large files come by Git LFS."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}
        super().__init__()

    def answer(self, handler: Handler, body: bytes) -> None:
        line, known = f"{handler.command} {handler.path}", handler.headers.get("Authorization") == f"Bearer {HF_TOKEN}"
        routes = {
            r"POST /api/repos/create": self.create,
            r"POST /api/validate-yaml": lambda handler, body: handler.json({"errors": [], "warnings": []}),
            r"GET /api/models/(\w+/[\w.-]+)": self.info,
            r"POST /api/models/(\w+/[\w.-]+)/preupload/main": self.modes,
            r"POST /(\w+/[\w.-]+)\.git/info/lfs/objects/batch": self.batch,
            r"PUT /lfs/(\w+)": self.put,
            r"POST /api/models/(\w+/[\w.-]+)/commit/main": self.commit,
            r"PUT /api/models/(\w+/[\w.-]+)/settings": self.settings,
            r"(?:GET|HEAD) /(\w+/[\w.-]+)/resolve/([\w.-]+)/(.+)": self.resolve,
        }
        for pattern, route in routes.items():
            if found := re.fullmatch(pattern, line):
                if not known and not self.open_to_all(line, found):
                    return self.refuse(handler, 401, "RepoNotFound")
                return route(handler, body, *found.groups())
        raise AssertionError(f"no {line}")

    def open_to_all(self, line: str, found: re.Match[str]) -> bool:
        repo = self.repos.get(found[1]) if found.re.groups else None
        return line.startswith("PUT /lfs/") or (not line.startswith("P") and repo is not None and not repo.private)

    def refuse(self, handler: Handler, status: int, code: str) -> None:
        handler.send(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

    def create(self, handler: Handler, body: bytes) -> None:
        values = json.loads(body)
        if values["organization"] != "alice":
            return handler.json({"error": "You don't have the rights to create a model under this namespace"}, 403)
        name = f"{values['organization']}/{values['name']}"
        if name in self.repos:
            return handler.json({"error": "You already created this model repo", "url": f"{self.url}/{name}"}, 409)
        private = values.get("private", values.get("visibility") == "private")
        self.repos[name] = Repo(private)
        handler.json({"url": f"{self.url}/{name}"})

    def info(self, handler: Handler, body: bytes, name: str) -> None:
        if name not in self.repos:
            return self.refuse(handler, 404, "RepoNotFound")
        repo = self.repos[name]
        files = [{"rfilename": path} for path in repo.files]
        handler.json({"id": name, "sha": repo.sha(), "private": repo.private, "siblings": files, "tags": []})

    def modes(self, handler: Handler, body: bytes, name: str) -> None:
        def mode(path: str) -> str:
            return "regular" if path.endswith((".md", ".json")) else "lfs"

        files = [entry["path"] for entry in json.loads(body)["files"]]
        handler.json({"files": [{"path": p, "uploadMode": mode(p), "shouldIgnore": False, "oid": None} for p in files]})

    def batch(self, handler: Handler, body: bytes, name: str) -> None:
        def described(values: dict[str, Any]) -> dict[str, Any]:
            upload = {"actions": {"upload": {"href": f"{self.url}/lfs/{values['oid']}"}}}
            return values | ({} if values["oid"] in self.large else upload)

        handler.json({"transfer": "basic", "objects": [described(values) for values in json.loads(body)["objects"]]})

    def put(self, handler: Handler, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.large[oid] = body
        handler.send(200)

    def commit(self, handler: Handler, body: bytes, name: str) -> None:
        head, *operations = [json.loads(line) for line in body.splitlines()]
        repo = self.repos[name]
        if head["value"].get("parentCommit", repo.sha()) != repo.sha():
            return handler.json({"error": "A commit has happened since. Please refresh and try again."}, 412)
        files = dict(repo.files)
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "deletedFile":
                del files[value["path"]]
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.large[value["oid"]]
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        repo.commits.append(files)
        repo.notes.append(head["value"]["summary"])
        handler.json({"commitUrl": f"{self.url}/{name}/commit/{repo.sha()}", "commitOid": repo.sha()})

    def settings(self, handler: Handler, body: bytes, name: str) -> None:
        values = json.loads(body)
        self.repos[name].private = values.get("private", values.get("visibility") == "private")
        handler.json({})

    def resolve(self, handler: Handler, body: bytes, name: str, revision: str, path: str) -> None:
        repo = self.repos.get(name)
        if repo is None:
            return self.refuse(handler, 404, "RepoNotFound")
        if (index := repo.at(revision)) is None:
            return self.refuse(handler, 404, "RevisionNotFound")
        if path not in repo.commits[index]:
            return self.refuse(handler, 404, "EntryNotFound")
        content = repo.commits[index][path]
        etag = hashlib.sha256(content).hexdigest()
        handler.file(content, {"X-Repo-Commit": repo.sha(index), "ETag": f'"{etag}"'})


class Kaggle(Server):
    """Models of the user alice. The package knows no address but Kaggle's and localhost's, so this is its proxy."""

    def __init__(self) -> None:
        self.models: dict[str, list[dict[str, bytes]]] = {}
        """The files of each version."""
        self.licenses: dict[str, str] = {}
        self.notes: list[str] = []
        self.blobs: dict[str, bytes] = {}
        self.names: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        super().__init__()

    def answer(self, handler: Handler, body: bytes) -> None:
        if found := re.fullmatch(r"/upload/(\w+)", handler.path):
            return self.put(handler, body, found[1])
        if found := re.fullmatch(r"/files/(\w+/[\w.-]+)/(\d+)/(.+)", handler.path):
            return handler.file(self.models[found[1]][int(found[2]) - 1][found[3]])
        values, name = json.loads(body or b"{}"), handler.path.rpartition("/")[2]
        known = handler.headers.get("Authorization") == f"Bearer {KAGGLE_TOKEN}"
        if not known:
            return handler.json({"code": 401, "message": "Unauthenticated"}, 401)
        getattr(self, name)(handler, values)

    def begun(self, handler: Handler, body: bytes) -> None:
        token = handler.path.rpartition("/")[2]
        if token in self.blobs:
            self.blobs[token] += body

    def put(self, handler: Handler, body: bytes, token: str) -> None:
        self.blobs[token] += body
        if len(self.blobs[token]) == self.sizes[token]:
            return handler.send(200)
        have = {"Range": f"bytes=0-{len(self.blobs[token]) - 1}"} if self.blobs[token] else {}
        handler.send(308, b"", have)

    def missing(self, handler: Handler) -> None:
        handler.json({"code": 404, "message": "Not found"}, 404)

    # The API.

    def GetModel(self, handler: Handler, values: dict[str, Any]) -> None:  # noqa: N802
        name = f"{values['ownerSlug']}/{values['modelSlug']}"
        handler.json({"slug": name}) if name in self.models else self.missing(handler)

    def CreateModel(self, handler: Handler, values: dict[str, Any]) -> None:  # noqa: N802
        if values["ownerSlug"] != "alice":
            return handler.json({"code": 403, "message": "Permission 'models.create' was denied"}, 403)
        assert values["isPrivate"] is True
        self.models[f"{values['ownerSlug']}/{values['slug']}"] = []
        handler.json({"id": 1})

    def StartBlobUpload(self, handler: Handler, values: dict[str, Any]) -> None:  # noqa: N802
        token = f"token{len(self.blobs)}"
        self.blobs[token], self.names[token], self.sizes[token] = b"", values["name"], int(values["contentLength"])
        handler.json({"token": token, "createUrl": f"{self.url}/upload/{token}"})

    def CreateModelInstance(self, handler: Handler, values: dict[str, Any]) -> None:  # noqa: N802
        name, body = f"{values['ownerSlug']}/{values['modelSlug']}", values["body"]
        if self.models[name]:
            return handler.json({"error": "already exists", "errorCode": 409})
        if body["licenseName"] not in ("MIT", "Apache 2.0", "CC BY 4.0"):
            return handler.json({"error": f"Invalid license: {body['licenseName']}", "errorCode": 400})
        assert body["framework"] == "MODEL_FRAMEWORK_KERAS", body
        self.licenses[name] = body["licenseName"]
        self.take(handler, name, body)

    def CreateModelInstanceVersion(self, handler: Handler, values: dict[str, Any]) -> None:  # noqa: N802
        self.notes.append(values["body"]["versionNotes"])
        self.take(handler, f"{values['ownerSlug']}/{values['modelSlug']}", values["body"])

    def take(self, handler: Handler, name: str, body: dict[str, Any]) -> None:
        files: dict[str, bytes] = {}

        def walk(folder: dict[str, Any], prefix: str) -> None:
            for entry in folder.get("files", []):
                files[prefix + self.names[entry["token"]]] = self.blobs[entry["token"]]
            for inner in folder.get("directories", []):
                walk(inner, f"{prefix}{inner['name']}/")

        walk(body, "")
        self.models[name].append(files)
        handler.json({"id": 1})

    def GetModelInstance(self, handler: Handler, values: dict[str, Any]) -> None:  # noqa: N802
        versions = self.models.get(f"{values['ownerSlug']}/{values['modelSlug']}")
        handler.json({"versionNumber": len(versions)}) if versions else self.missing(handler)

    def DownloadModelInstanceVersion(self, handler: Handler, values: dict[str, Any]) -> None:  # noqa: N802
        name, number = f"{values['ownerSlug']}/{values['modelSlug']}", int(values["versionNumber"])
        versions = self.models.get(name, [])
        if number > len(versions) or values["path"] not in versions[number - 1]:
            return self.missing(handler)
        handler.send(302, b"", {"Location": f"{self.url}/files/{name}/{number}/{values['path']}"})
