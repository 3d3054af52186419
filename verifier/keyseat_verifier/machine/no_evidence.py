"""The refusal where nothing identifies a machine, with the ways out."""

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.machine_id import MachineID
from keyseat_verifier.machine.findings import READ, UNREADABLE, Note


def no_evidence(
    machine_id: MachineID, components: "tuple[Note, ...]", signals: "tuple[str, tuple[str, ...]]"
) -> KeyseatError:
    """Return the error for a machine that nothing identifies, with the ways out, online floating sessions first."""
    steps = [
        "Use online floating sessions (KRE): they need no machine ID evidence.",
        "Keep an instance id on a persistent volume: `keyseat machine-id --instance FILE`; it is weaker evidence.",
        "In a container, mount the host's /etc/machine-id read-only and name the path in KEYSEAT_HOST_ID_FILE.",
    ]
    if any(note.state == UNREADABLE and note.kind.startswith("firmware") for note in components):
        steps.append("Run with administrator rights, if the licensed program will run with them as well.")
    word, signs = signals
    where = {"physical": "this machine", "vm": "this virtual machine", "ci": "this CI runner", "wsl": "this WSL"}
    message = f"nothing identifies {where.get(word, 'this ' + word)}"
    if not machine_id.tags_of("user-id"):
        message = "the user account cannot be told"
    else:
        passed_over = [note for note in components if note.kind == "instance" and note.state != READ]
        message += "".join([f"; the {note.where} was passed over ({note.reason})" for note in passed_over])
    return KeyseatError(
        ReasonCode.NO_MACHINE_EVIDENCE,
        message,
        details={
            "environment": word,
            "signs": list(signs),
            "options": steps,
            "components": [note.to_dict() for note in components],
        },
        next_step="\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1)),
    )
