"""Reading a command's options: a table and one loop (argparse alone costs 0.8 of a bare interpreter start)."""

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from collections.abc import Sequence


class Command:
    """What one command takes: its usage line, what it does, its positional names and its options.

    ``options`` maps ``--name`` to (metavar, help); a flag has an empty metavar.
    """

    def __init__(
        self, usage: str, summary: str, options: "dict[str, tuple[str, str]]", positional: "Sequence[str]" = ()
    ) -> None:
        self.usage = usage
        self.summary = summary
        self.options = options
        self.positional = tuple(positional)

    def help(self) -> str:
        """Return the help text, options aligned."""
        rows = [(f"{name} {metavar}".rstrip(), text) for name, (metavar, text) in self.options.items()]
        rows.append(("--help", "show this help"))
        width = max([len(left) for left, _ in rows])
        listed = "\n".join([f"  {left:<{width}}  {text}" for left, text in rows])
        return f"usage: {self.usage}\n\n{self.summary}\n\noptions:\n{listed}"

    def parse(self, argv: "list[str]") -> "dict[str, str]":
        """Return the values by name; flags are ``"yes"``. ``--help`` is returned like a flag.

        Raises:
            KeyseatError: ``INVALID_INPUT`` that says what is wrong and shows the usage.
        """
        found: dict[str, str] = {}
        words: list[str] = []
        rest = iter(argv)
        for word in rest:
            if word == "--":
                words += rest
            elif word in {"-h", "--help"}:
                return {"--help": "yes"}
            elif word.startswith("-") and word != "-":
                name, equals, value = word.partition("=")
                found[name] = self._value(name, value if equals else None, rest)
            else:
                words.append(word)
        if len(words) > len(self.positional):
            raise self._wrong(f"unexpected argument {words[len(self.positional)]!a}")
        if len(words) < len(self.positional):
            raise self._wrong(f"{self.positional[len(words)]} is missing")
        return found | dict(zip(self.positional, words, strict=True))

    def _value(self, name: str, value: "str | None", rest: "object") -> str:
        if name not in self.options:
            raise self._wrong(f"unknown option {name!a}{self._guess(name)}")
        if not self.options[name][0]:
            if value is not None:
                raise self._wrong(f"{name} takes no value")
            return "yes"
        if value is None:
            value = next(rest, None)  # type: ignore[call-overload] # the iterator over argv
        if value is None:
            raise self._wrong(f"{name} needs a value ({self.options[name][0]})")
        return str(value)

    def _guess(self, name: str) -> str:
        import difflib

        close = difflib.get_close_matches(name.lstrip("-"), [option.lstrip("-") for option in self.options], n=1)
        return f" (did you mean --{close[0]}?)" if close else ""

    def _wrong(self, message: str) -> KeyseatError:
        return KeyseatError(ReasonCode.INVALID_INPUT, message, next_step=f"usage: {self.usage}")
