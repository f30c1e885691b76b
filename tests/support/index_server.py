"""A package index on loopback: real HTTP, the content and the faults that a test gives it."""

from __future__ import annotations

import hashlib
import html
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fill = Callable[[tarfile.TarFile], None]


def tar_of(files: Mapping[str, bytes], compression: str = "gz", fill: Fill | None = None) -> bytes:
    """A compressed tar of plain files; `fill` may add what no honest archive holds."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compression}") as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        if fill:
            fill(tar)
    return out.getvalue()


def zip_of(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


class Index:
    """What the server serves, and what was asked of it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/simple/"
        self.files: dict[str, bytes] = {}
        self.pages: dict[str, list[str]] = {}
        self.faults: list[int | bytes] = []
        """Answers to give before the honest ones: a status, or the body of a page."""
        self.times: dict[str, str] = {}
        """Filenames to when they were uploaded, ISO 8601; with any, pages are JSON (PEP 691, PEP 700)."""
        self.requests: list[str] = []
        self.authorization: list[str | None] = []

    def add(self, filename: str, data: bytes, *, digest: str | None = None, yanked: bool = False) -> str:
        """Serve a distribution; `digest` is the hash the page gives (empty: none). Returns the true one."""
        true = hashlib.sha256(data).hexdigest()
        shown = true if digest is None else digest
        self.files[filename] = data
        name = filename.rsplit("-", 1)[0] if not filename.endswith(".whl") else filename.split("-")[0]
        fragment = f"#sha256={shown}" if shown else ""
        mark = ' data-yanked="broken"' if yanked else ""
        link = f'<a href="/files/{html.escape(filename)}{fragment}"{mark}>{html.escape(filename)}</a>'
        self.pages.setdefault(name.replace("_", "-").lower(), []).append(link)
        return true

    def page(self, name: str) -> bytes:
        """The page of a project, as JSON."""
        found = [f for f in self.files if f.split("-")[0].replace("_", "-").lower() == name]
        files = [
            {
                "filename": filename,
                "url": f"/files/{filename}",
                "hashes": {"sha256": hashlib.sha256(self.files[filename]).hexdigest()},
                "upload-time": self.times[filename],
                "size": len(self.files[filename]),
            }
            for filename in found
        ]
        versions = sorted({filename.split("-")[1] for filename in found})
        told = {"meta": {"api-version": "1.1"}, "name": name, "versions": versions, "files": files}
        return json.dumps(told).encode()


@contextmanager
def serve() -> Iterator[Index]:
    """The server, up for the block, on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.requests.append(self.path)
            index.authorization.append(self.headers.get("Authorization"))
            parts = self.path.strip("/").split("/")
            body: bytes | None = None
            kind = "text/html" if parts[0] == "simple" else "application/octet-stream"
            if index.faults:
                fault = index.faults.pop(0)
                if isinstance(fault, int):
                    self.send_error(fault)
                    return
                body = fault
            elif parts[0] == "simple" and len(parts) == 2 and parts[1] in index.pages and index.times:
                body = index.page(parts[1])
                kind = "application/vnd.pypi.simple.v1+json"
            elif parts[0] == "simple" and len(parts) == 2 and parts[1] in index.pages:
                body = f"<!DOCTYPE html><html><body>{'<br>'.join(index.pages[parts[1]])}</body></html>".encode()
            elif parts[0] == "files":
                body = index.files.get(parts[1])
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index = Index(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
