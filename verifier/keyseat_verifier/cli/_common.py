"""What several commands need: the trust bundle, the file, the machine and the instant that the options name."""

import os
import sys

from keyseat_shared.codes import ReasonCode, exit_code
from keyseat_shared.envelope import MAX_SIZE
from keyseat_shared.errors import CouldNotVerifyError, KeyseatError, TrustError
from keyseat_shared.files import read_file, require_file
from keyseat_shared.trust import TrustBundle
from keyseat_verifier._internal.paths import TRUST, home_folder
from keyseat_verifier.cli import _terminal

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from datetime import datetime

    from keyseat_verifier.machine import MachineProbe

STDIN = "-"

TRUST_OPTION = ("FILE", "the vendor's trust bundle (default: KEYSEAT_TRUST, then trust.json in the home folder)")
INSTANCE_OPTION = ("FILE", "the instance id file that the machine ID was made with")
JSON_OPTION = ("", "print one JSON object on stdout")
EXAMPLE_OPTION = ("", "accept the public example keys, to try things out")


def load_trust(options: "dict[str, str]") -> TrustBundle:
    """Return the bundle of ``--trust``, ``KEYSEAT_TRUST`` or the home folder.

    Raises:
        KeyseatError: where there is none, or it cannot be used.
    """
    allow = "--allow-example-keys" in options
    path = options.get("--trust") or os.environ.get("KEYSEAT_TRUST")
    if not path:
        path = os.path.join(home_folder(), TRUST)
        if not os.path.exists(path):
            raise TrustError(
                ReasonCode.UNREADABLE,
                "no trust bundle: it says which keys and rules count",
                next_step="Pass --trust FILE with the trust.json that your vendor gave you,"
                f" or keep it at {_terminal.clean(path)}.",
            )
        require_file(path)  # nobody has named it: a pipe there is not waited for
    return TrustBundle.load(path, allow_example_keys=allow)


def products(options: "dict[str, str]", pinned: TrustBundle) -> "list[str]":
    """Return the product of ``--product``, or all of the vendor's catalogue.

    Raises:
        KeyseatError: ``INVALID_INPUT`` where the catalogue has no such product.
    """
    from keyseat_verifier.client.trust_source import TrustSource

    allow = "--allow-example-keys" in options
    trust = TrustSource(pinned, home_folder(), "", clock=None, allow_example_keys=allow).verifier().trust
    known = sorted(trust.policy.products)
    wanted = options.get("--product")
    if wanted is None:
        return known
    if wanted not in known:
        import difflib

        lower = {product.lower(): product for product in known}
        close = difflib.get_close_matches(wanted.lower(), lower, n=1, cutoff=0.5)
        guess = f"Did you mean {lower[close[0]]}? " if close else ""
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"the vendor's catalogue has no product {wanted[:40]!a}",
            next_step=f"{guess}It has {', '.join(known)}.",
        )
    return [wanted]


def read_named(path: str) -> bytes:
    """Return the bytes of a file or pipe, or of stdin for ``-``.

    Raises:
        VerificationError: ``UNREADABLE``, as `read_file`.
    """
    if path != STDIN:
        return read_file(path, pipes=True)
    reason = "it is closed"
    try:
        if sys.stdin is not None:  # `<&-`
            return sys.stdin.buffer.read(MAX_SIZE + 1)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
    raise CouldNotVerifyError(ReasonCode.UNREADABLE, f"cannot read standard input: {reason}")


def instant(options: "dict[str, str]") -> "datetime | None":
    """Return the instant of ``--at``, or ``None``.

    Raises:
        KeyseatError: ``INVALID_INPUT``.
    """
    if "--at" not in options:
        return None
    from keyseat_shared.instants import parse_typed

    return parse_typed(options["--at"], end_of_day=False)


def machine(options: "dict[str, str]") -> "str | MachineProbe":
    """Return the machine ID typed, or a probe of this machine.

    Raises:
        KeyseatError: ``UNREADABLE`` for an instance file that is not there (a check never makes one).
    """
    if "--machine-id" in options:
        return options["--machine-id"]
    from keyseat_verifier.machine.probe import probe_machine

    instance = options.get("--instance")
    if instance is None:
        return probe_machine()
    if not os.path.isfile(instance):
        raise CouldNotVerifyError(
            ReasonCode.UNREADABLE,
            f"there is no instance file {instance!a}",
            next_step="Name the file that `keyseat machine-id --instance FILE` made, or mount its volume.",
        )
    return probe_machine(environ={**os.environ, "KEYSEAT_INSTANCE_FILE": instance})


def failed(error: KeyseatError) -> int:
    """Tell an error and return its exit code."""
    _terminal.complain(error)
    return exit_code(error.code)
