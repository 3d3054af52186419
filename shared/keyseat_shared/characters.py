"""Which characters a text field may hold: a table of our own, so that no two versions of Python disagree.

Refused are characters that steer a terminal, hide, or look like an ordinary space, those that never become characters,
and those that everybody may give a meaning. A code point that Unicode has not assigned yet is allowed: what is unknown
to one interpreter has a name in the next. The table is frozen with format 1 (docs/spec/license-file.md, section 6).
"""

from bisect import bisect_right

REFUSED = (
    (0x0000, 0x001F),  # controls
    (0x007F, 0x00A0),  # controls; no-break space
    (0x00AD, 0x00AD),  # soft hyphen
    (0x0600, 0x0605),  # Arabic number signs
    (0x061C, 0x061C),  # Arabic letter mark
    (0x06DD, 0x06DD),  # Arabic end of ayah
    (0x070F, 0x070F),  # Syriac abbreviation mark
    (0x0890, 0x0891),  # Arabic pound and piastre marks
    (0x08E2, 0x08E2),  # Arabic disputed end of ayah
    (0x1680, 0x1680),  # Ogham space mark
    (0x180E, 0x180E),  # Mongolian vowel separator
    (0x2000, 0x200F),  # spaces of other widths and of none; directional marks
    (0x2028, 0x202F),  # line and paragraph separators; directional embeddings; narrow no-break space
    (0x205F, 0x206F),  # mathematical space; word joiner; invisible operators; directional isolates
    (0x3000, 0x3000),  # ideographic space
    (0xD800, 0xF8FF),  # surrogates; private use
    (0xFDD0, 0xFDEF),  # noncharacters
    (0xFEFF, 0xFEFF),  # byte order mark
    (0xFFF0, 0xFFFB),  # reserved for invisible characters; interlinear annotations
    (0xFFFE, 0xFFFF),  # noncharacters
    (0x110BD, 0x110BD),  # Kaithi number sign
    (0x110CD, 0x110CD),  # Kaithi number sign above
    (0x13430, 0x1343F),  # Egyptian hieroglyph format controls
    (0x1BCA0, 0x1BCA3),  # shorthand format controls
    (0x1D173, 0x1D17A),  # musical symbols that begin and end beams, ties and slurs
    *[(plane | 0xFFFE, plane | 0xFFFF) for plane in range(0x10000, 0xD0000, 0x10000)],  # noncharacters
    (0xDFFFE, 0xE00FF),  # noncharacters; tags
    (0xE01F0, 0xE0FFF),  # reserved for invisible characters
    (0xEFFFE, 0x10FFFF),  # noncharacters; private use
)
"""Ranges of code points, both ends refused."""

_EDGES = [edge for first, last in REFUSED for edge in (first, last + 1)]


def are_allowed(text: str) -> bool:
    """Tell whether a text holds none of the refused characters."""
    for char in text:  # noqa: SIM110 - a generator costs as much as the look
        if bisect_right(_EDGES, ord(char)) & 1:
            return False
    return True
