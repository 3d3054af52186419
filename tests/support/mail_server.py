"""A mail server on loopback that takes mails, refuses some, and hangs up, as real ones do."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast


class MailServer(socketserver.ThreadingTCPServer):
    """Takes mails but those to ``refused`` addresses; hangs up after ``most`` mails on one connection."""

    daemon_threads = True

    def __init__(self, refused: frozenset[str], most: int, gate: threading.Event) -> None:
        """Listen on a free port; say nothing before ``gate`` is set."""
        self.gate = gate
        self.refused = refused
        self.most = most
        self.connections = 0
        self.taken: list[str] = []
        super().__init__(("127.0.0.1", 0), _Conversation)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])


class _Conversation(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = cast("MailServer", self.server)
        server.connections += 1
        server.gate.wait()
        if server.most == 0:
            return
        self._say("220 here")
        to, sent = "", 0
        while line := self.rfile.readline().decode().strip():
            verb = line[:4].upper()
            if verb == "RCPT":
                to = line.partition("<")[2].partition(">")[0]
                self._say("550 no such mailbox" if to in server.refused else "250 ok")
            elif verb == "DATA":
                self._say("354 go on")
                while self.rfile.readline() != b".\r\n":
                    pass
                server.taken.append(to)
                self._say("250 taken")
                sent += 1
                if sent == server.most:
                    return
            else:
                self._say("221 bye" if verb == "QUIT" else "250 ok")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@contextmanager
def mail_server(*refused: str, most: int = 1000, slow: bool = False) -> Iterator[MailServer]:
    """Run a mail server; with ``most=0`` it hangs up on everybody at once, a ``slow`` one waits for its ``gate``."""
    gate = threading.Event()
    if not slow:
        gate.set()
    with MailServer(frozenset(refused), most, gate) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            gate.set()
            server.shutdown()
            thread.join()
