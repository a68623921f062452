"""A page with the mistakes that the tools look for, so that a run can show that they would be found. Never part of anything else."""

from __future__ import annotations

import http.server
import json
import sqlite3
import threading
import urllib.parse
from typing import Any

DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "Vulnerable", "version": "1"},
    "paths": {
        "/item": {
            "get": {
                "parameters": [{"name": "id", "in": "query", "required": True, "schema": {"type": "integer"}}],
                "responses": {"200": {"description": "an item", "content": {"application/json": {"schema": {"type": "object"}}}}},
            }
        }
    },
}


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        if parts.path == "/openapi.json":
            self.answer(200, "application/json", json.dumps(DOCUMENT))
        elif parts.path == "/item":
            self.item(query.get("id", "1"))
        elif parts.path == "/hello":
            # What was asked for is shown as it was written.
            self.answer(200, "text/html", f"<html><body>Hello {query.get('name', '')}</body></html>")
        else:
            self.answer(200, "text/html", '<html><body><a href="/item?id=1">item</a><a href="/hello?name=a">hello</a></body></html>')

    def item(self, number: str) -> None:
        """The value becomes part of the statement, and what is wrong with it is told."""
        with sqlite3.connect(":memory:") as db:
            db.execute("create table items (id integer, name text)")
            db.execute("insert into items values (1, 'one'), (2, 'two')")
            try:
                rows = db.execute(f"select name from items where id = {number}").fetchall()
            except sqlite3.Error as error:
                self.answer(500, "text/html", f"sqlite3.OperationalError: {error}")
                return
        self.answer(200, "text/html", f"<html><body>{[name for (name,) in rows]}</body></html>")

    def answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("set-cookie", "id=1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Vulnerable:
    def __enter__(self) -> str:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
