"""The ``keyseat`` command on a recorded machine, under the account that really runs it.

    python tests/support/machine_program.py linux-docker-bare machine-id

What the machine that the tests run on would show does not matter then.
"""

import sys

from keyseat_verifier import cli
from keyseat_verifier.machine import probe
from keyseat_verifier.machine.probe import host_source
from recorded_machines import RecordedMachine, load


def machine(name: str) -> RecordedMachine:
    """Return a recording with the account of this process."""
    recorded = load(name)
    recorded.user = host_source().account()
    return recorded


if __name__ == "__main__":
    probe.host_source = lambda: machine(sys.argv[1])
    sys.exit(cli.main(sys.argv[2:]))
