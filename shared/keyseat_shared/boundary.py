"""Only documented errors leave this software: this module makes sure of it.

``Verifier``, ``LicenseClient``, ``TrustBundle`` and ``MachineID`` return a value or raise a ``KeyseatError`` of the
class they document, for any file, machine or server. Any other exception becomes ``UNFORESEEN`` here: "could not
check", never "yes" and never "no". The first exception stays as its cause.
"""

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    from keyseat_shared.errors import KeyseatError

    P = ParamSpec("P")
    R = TypeVar("R")


def guarded(
    convert: "Callable[[KeyseatError], KeyseatError] | None" = None,
) -> "Callable[[Callable[P, R]], Callable[P, R]]":
    """Return a decorator: its function raises only ``KeyseatError``, and ``MisuseError`` for a wrong call.

    Args:
        convert: gets every ``KeyseatError``, and returns it or one of the documented class to raise instead.
    """

    def decorate(function: "Callable[P, R]") -> "Callable[P, R]":
        def guard(*args: "P.args", **kwargs: "P.kwargs") -> "R":
            try:
                return function(*args, **kwargs)
            except Exception as error:
                found = documented(error)
                if found is not None and convert is not None:
                    found = convert(found)
                if found is None or found is error:
                    raise
                raise found from error

        # What `functools.wraps` does, which is not loaded for it.
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(guard, name, getattr(function, name))
        guard.__dict__["__wrapped__"] = function
        return guard

    return decorate


def documented(error: Exception) -> "KeyseatError | None":
    """Return a ``KeyseatError`` as it is, ``None`` for a caller's mistake, and ``UNFORESEEN`` for anything else.

    The message names the kind of error and the place, not its text: that could hold a secret.
    """
    from keyseat_shared.codes import ReasonCode  # late: the fast path of the machine ID passes here
    from keyseat_shared.errors import KeyseatError, MisuseError

    if isinstance(error, KeyseatError):
        return error
    if isinstance(error, MisuseError):
        return None
    kind, place = type(error).__name__, _place(error)
    return KeyseatError(
        ReasonCode.UNFORESEEN,
        f"something unforeseen happened ({kind} at {place})",
        details={"error": kind, "place": place},
    )


def _place(error: Exception) -> str:
    """Return module and line of the last frame that is ours."""
    place = "an unknown place"
    trace = error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.startswith("keyseat_"):
            place = f"{module}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
