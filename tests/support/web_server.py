"""The browser side, served by a real server process on loopback for tests."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.cookiejar import CookieJar
from pathlib import Path

PASSWORD = "correct horse battery staple"

_START = 60.0
"""Seconds in which a server must answer, on a busy machine."""

_PROGRAM = """
import sys, uvicorn
from keyseat_issuer.web import asgi
uvicorn.run(asgi.build(), fd=int(sys.argv[1]), log_level="warning", lifespan="off", proxy_headers=False)
"""


def make_account(email: str, name: str = "Ada") -> None:
    """Make an account that can sign in with ``PASSWORD``."""
    from allauth.account.models import EmailAddress  # noqa: PLC0415 - this module is imported without Django, too

    from keyseat_issuer.web.models import User  # noqa: PLC0415 - likewise

    user = User.objects.create_user(email, PASSWORD, name=name)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)


@dataclass(frozen=True)
class Answer:
    """Status, headers and body of an HTTP answer."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> dict[str, object]:
        """The body as JSON."""
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: object) -> None:
        return None


@dataclass
class Http:
    """A small HTTP client that keeps cookies, as a browser does, and does not follow redirects."""

    base: str
    jar: CookieJar = field(default_factory=CookieJar)

    def request(
        self,
        path: str,
        form: Mapping[str, str] | list[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send a GET, or a POST of a form or raw body."""
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.jar), _NoRedirect
        )
        data = urllib.parse.urlencode(form).encode() if form is not None else body
        request = urllib.request.Request(urllib.parse.urljoin(self.base, path), data, dict(headers or {}))  # noqa: S310 - loopback
        try:
            with opener.open(request, timeout=_START) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def post_page(self, path: str, form: Mapping[str, str]) -> Answer:
        """Post a page's form with its CSRF token, as a person in a browser does."""
        page = self.request(path).text
        marker = 'name="csrfmiddlewaretoken" value="'
        token = page.partition(marker)[2].partition('"')[0]
        return self.request(path, {**form, "csrfmiddlewaretoken": token})

    def sign_in(self, email: str, password: str) -> Answer:
        """Sign in with e-mail and password."""
        return self.post_page("/sign-in", {"login": email, "password": password})


@contextlib.contextmanager
def serve(env: Mapping[str, str], log: Path) -> Iterator[str]:
    """Serve the pages with this environment on a free port of loopback; yields the origin."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        port = listener.getsockname()[1]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(listener.fileno())],
                env={**os.environ, **env, "NO_PROXY": "*"},
                pass_fds=(listener.fileno(),),
                stdout=output,
                stderr=output,
            )
        try:
            origin = f"http://127.0.0.1:{port}"
            _wait(origin, process, log)
            yield origin
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(origin: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    # The socket listens already: the first request waits in its queue until the server takes it.
    until = time.monotonic() + _START
    while process.poll() is None and time.monotonic() < until:
        try:
            if Http(origin).request("/sign-in").status == 200:
                return
        except OSError:
            continue
    raise RuntimeError(f"the server did not start: {log.read_text()[-3000:]}")
