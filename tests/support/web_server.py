"""The browser side, served over real HTTP on loopback for tests."""

import contextlib
import json
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keyseat_issuer.console.vendor import Vendor

PASSWORD = "correct horse battery staple"

_START = 60.0
"""Seconds in which a server must answer or stop, on a busy machine."""


def make_account(email: str, name: str = "Ada") -> None:
    """Make an account that can sign in with ``PASSWORD``."""
    from allauth.account.models import EmailAddress  # noqa: PLC0415 - this module is imported without Django, too

    from keyseat_issuer.web.models import User  # noqa: PLC0415 - as above

    user = User.objects.create_user(email, PASSWORD, name=name)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)


def five_minutes_later() -> None:
    """Date back when the people in all browsers gave their passwords, as far as confirming anew is concerned."""
    from django.contrib.sessions.backends.db import SessionStore  # noqa: PLC0415 - as above
    from django.contrib.sessions.models import Session  # noqa: PLC0415 - as above

    for row in Session.objects.all():
        data = row.get_decoded()
        for record in data.get("account_authentication_methods", []):
            record["at"] -= 301
        Session.objects.filter(pk=row.pk).update(session_data=SessionStore().encode(data))


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
def serve(vendor: "Vendor | None" = None) -> Iterator[str]:
    """Serve the pages from a thread of this process, on the ledger that Django is pointed at; yields the origin."""
    import uvicorn  # noqa: PLC0415 - most tests serve nothing

    from console_site import Counter  # noqa: PLC0415 - as above
    from keyseat_issuer.server import pages  # noqa: PLC0415 - Django is set up by the tests' configuration

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        # Listening from here on: the first request waits in the queue until the server takes it.
        listener.listen(128)
        config = uvicorn.Config(pages.build(vendor or Counter()), log_config=None, lifespan="off", proxy_headers=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(_START)
            assert not thread.is_alive()
