"""What callers of pages and of OAuth did wrong: a short line in the log, and an answer of the right kind."""

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest
from django.test import Client

from databases import Ledger
from keyseat_issuer.api.logs import configure_logging

pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


class TestWhatACallerDidWrong:
    @pytest.fixture
    def lines(self, ledger: Ledger) -> Iterator[Callable[[], list[dict[str, object]]]]:
        """What the service's log holds; how logs were kept before comes back afterwards."""
        root = logging.getLogger()
        kept, level = root.handlers[:], root.level
        stream = io.StringIO()
        configure_logging("info", stream)
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
        root.handlers[:] = kept
        root.setLevel(level)

    @pytest.mark.parametrize("host", ["evil.test", "", "evil.test" * 200])
    def test_is_one_short_warning_without_a_traceback(
        self, lines: Callable[[], list[dict[str, object]]], host: str
    ) -> None:
        assert 400 == Client(raise_request_exception=False).get("/sign-in", HTTP_HOST=host).status_code

        told = [line for line in lines() if str(line["logger"]).startswith("django")]
        assert told
        for line in told:
            assert ("warning", False, True) == (line["level"], "exception" in line, len(str(line)) < 400), line

    def test_is_no_cover_for_our_own_faults(self, lines: Callable[[], list[dict[str, object]]]) -> None:
        fault = RuntimeError("a fault of ours")
        logging.getLogger("django.request").error("Internal Server Error", exc_info=fault)

        [line] = lines()
        assert ("error", True) == (line["level"], "exception" in line)

    @pytest.mark.parametrize("path", ["/oauth/device", "/oauth/token", "/oauth/revoke"])
    @pytest.mark.parametrize("wrong", ["fields", "charset"])
    def test_is_told_to_programs_as_oauth_has_it(self, ledger: Ledger, path: str, wrong: str) -> None:
        form = "&".join(f"f{number}=1" for number in range(1001)) if wrong == "fields" else "client_id=keyseat"
        kind = "application/x-www-form-urlencoded" + ("; charset=utf-16" if wrong == "charset" else "")
        answer = Client(raise_request_exception=False).post(path, form, content_type=kind)

        assert (400, "application/json", {"error": "invalid_request"}) == (
            answer.status_code,
            answer.headers["Content-Type"],
            answer.json(),
        )
        assert "no-store" == answer.headers["Cache-Control"]
