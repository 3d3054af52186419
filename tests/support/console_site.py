"""The console for tests: a vendor behind it, people signed in, and pages asked for and posted as a browser does."""

import re
from html import unescape

from django.test import Client

from administration import VendorLicensing
from keyseat_issuer.console import vendor as console_vendor
from keyseat_issuer.ledger.models import Organization
from keyseat_issuer.web.models import User
from service_program import VendorTrust
from vendor import Vendor
from web_server import PASSWORD, make_account

_CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_INLINE = re.compile(r"</?(?:time|strong|code|span|em|a)\b[^>]*>")
_TAG = re.compile(r"<[^>]+>")


class Counter:
    """What serves the console: a test vendor's trust, and its licence keys where it ``signs``."""

    def __init__(self, seller: Vendor | None = None, *, signs: bool = True) -> None:
        """Take the vendor, by default a new one."""
        self.seller = seller or Vendor()
        self.trust = VendorTrust(self.seller)
        self.licensing = VendorLicensing(self.seller) if signs else None


class Desk:
    """Somebody at a browser, signed in."""

    def __init__(self, email: str, organization: Organization, counter: Counter | None = None) -> None:
        """Sign in, with a new account where there is none yet."""
        console_vendor.use(counter or Counter())
        self.client = Client(enforce_csrf_checks=True)
        self.base = f"/organizations/{organization.pk}/"
        if not User.objects.filter(email=email).exists():
            make_account(email)
        assert self.client.login(email=email, password=PASSWORD)

    def get(self, path: str) -> "Shown":
        """Ask for a page of the organisation, or, with a leading slash, any page."""
        return self._shown(self.client.get(self._at(path)))

    def post(self, path: str, form: dict[str, object], *, page: str = "") -> "Shown":
        """Post a form of ``page`` (the same path by default) with its CSRF token, and follow where that leads."""
        shown = self.client.get(self._at(page or path))
        found = _CSRF.findall(shown.content.decode())
        # A page that only takes posts has no form to read a token from: any page's does.
        token = found[-1] if found else _CSRF.findall(self.client.get("/").content.decode())[-1]
        return self._shown(self.client.post(self._at(path), form | {"csrfmiddlewaretoken": token}, follow=True))

    def _at(self, path: str) -> str:
        return path if path.startswith("/") else self.base + path

    @staticmethod
    def _shown(response: object) -> "Shown":
        return Shown(response)


class Shown:
    """An answered page: its status, its HTML, and its text as a person reads it."""

    def __init__(self, response: object) -> None:
        """Take Django's response."""
        self.status: int = response.status_code
        self.headers = response.headers
        self.body: bytes = response.getvalue() if response.streaming else response.content
        self.html = self.body.decode()
        self.text = _text(self.html)
        chain = getattr(response, "redirect_chain", [])
        self.path: str = chain[-1][0] if chain else ""

    def section(self, name: str) -> str:
        """Return the text of the section that the heading with this id names."""
        html = self.html.partition(f'<section aria-labelledby="{name}">')[2].partition("</section>")[0]
        return _text(html)


def _text(html: str) -> str:
    """Return what a person reads, blanks as one."""
    return " ".join(unescape(_TAG.sub(" ", _INLINE.sub("", html))).split())
