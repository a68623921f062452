"""wapiti over the pages, as a stranger and as somebody who is logged in."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
from pathlib import Path

import judge
from target import Target

# All modules that look for something that a server like this could have. Left out: `csrf` knows hidden fields only, and what
# another site sends is refused here by the browser's own headers (it::operations::another_sites_form_acts_in_nobodys_name);
# `ssl` and `https_redirect` look at a proxy that is not there; `buster`, `nikto`, `wp_enum`, `cms`, `wapp`, `htp`, `takeover` and
# `network_device` look up what other programs have, in lists from the internet.
MODULES = (
    "backup,cookieflags,crlf,csp,exec,file,htaccess,http_headers,ldap,log4shell,methods,permanentxss,redirect,shellshock,"
    "spring4shell,sql,ssrf,timesql,upload,xss,xxe"
)
QUICK_MODULES = "cookieflags,crlf,csp,exec,file,http_headers,permanentxss,redirect,sql,ssrf,upload,xss"


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Where wapiti's payloads lead. Who asks here for anything but wapiti's own questions was made to do so."""

    called: list[str] = []

    def do_GET(self) -> None:
        if "get_" not in self.path:
            self.called.append(self.path)
        body = b"{}"
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


def run(who: str, target: Target, folder: Path, tool: Path, quick: bool) -> judge.Verdict:
    endpoint = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=endpoint.serve_forever, daemon=True).start()
    Endpoint.called.clear()
    report = folder / f"wapiti-{who}.json"
    base = target.base
    command = [
        str(tool), "-u", f"{base}/", "-m", QUICK_MODULES if quick else MODULES, "-f", "json", "-o", str(report), "-v", "1",
        "--flush-session", "--no-bugreport", "--store-session", str(folder / f"wapiti-{who}"), "--store-config", str(folder / "wapiti-config"),
        "--endpoint", f"http://127.0.0.1:{endpoint.server_port}/", "-d", "6", "--tasks", "4", "-t", "20",
        "--max-links-per-page", "60", "--max-files-per-dir", "60", "--max-scan-time", "20" if quick else "300",
        "--max-attack-time", "10" if quick else "600",
    ]
    for page in ("/login", "/signup", "/verify?token=x", "/password/reset?token=x", "/email/confirm?token=x", "/checkout/return?attempt=x"):
        command += ["-s", base + page]
    if who == "customer":
        # As a browser says it: a form with our cookie and without a word on where it comes from is refused.
        command += ["-H", f"Cookie: cf_session={target.customer().token}", "-H", "Sec-Fetch-Site: same-origin"]
        for page in ("/account", "/account/settings", "/account/license", "/account/change", "/account/cancel"):
            command += ["-s", base + page]
        # Without these it would soon be a stranger.
        for page in ("/logout", "/account/delete"):
            command += ["-x", base + page]
    try:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "HOME": str(folder)}, capture_output=True, text=True, timeout=400 if quick else 9_000
        )
    finally:
        endpoint.shutdown()
        endpoint.server_close()
    (folder / f"wapiti-{who}.log").write_text(done.stdout + done.stderr)
    verdict = judge.wapiti(report, 12 if who == "stranger" else 18)
    found = list(verdict.found)
    if done.returncode != 0:
        found.append(f"it ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-400:]}")
    found += [f"the server was made to call {path}" for path in Endpoint.called]
    found += [f"the server panicked: {line}" for line in target.panics()]
    return judge.Verdict(f"wapiti as {who}: {verdict.did}", tuple(found))
