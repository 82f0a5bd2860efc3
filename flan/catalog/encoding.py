r"""Repairs of text that was decoded, escaped or exported wrongly.

Each keeps what it does not recognize, and changes nothing more when it is used again.
"""

from __future__ import annotations

import html
import html.entities
import re

# Bytes 0x80-0x9f of Windows text that was read as Latin-1: dashes, curly quotes, the ellipsis.
_WINDOWS = {
    code: bytes([code]).decode("cp1252", errors="ignore") or None for code in range(0x80, 0xA0)
}

# What each byte of UTF-8 beyond ASCII looks like when it is read as Windows text or Latin-1.
_BYTES = {chr(code): code for code in range(0x80, 0x100)}
_BYTES |= {char: code for code, char in _WINDOWS.items() if char}
_CONTINUATION = "".join(re.escape(char) for char, code in _BYTES.items() if code < 0xC0)
# Lead bytes that stand in no ordinary text before such characters; "É" and the like may.
# After "â" comes no no-break space: French has it between a word and the quotation mark "»".
_MISREAD = re.compile(
    f"[ÂÃ][{_CONTINUATION}]|(?:â(?!\u00a0)|ï(?=¿½|»¿))[{_CONTINUATION}]{{2}}"
    f"|ð[{_CONTINUATION}]{{3}}|(?:[ÐÑ][{_CONTINUATION}]){{2,}}"
)
# A soft hyphen says where a word may be broken; some lost their first byte to a "?".
_SOFT_HYPHEN = re.compile("(?<=\\w)\\?\u00ad(?=\\w)|\u00ad")


def repair_encoding(text: str) -> str:
    r"""Decodes again what was UTF-8, or Windows-1252, and was read as something else.

    "fiancÃ©" -> "fiancé", "Iraqâ\x80\x99s" and "Iraq\x92s" -> "Iraq’s". Soft hyphens go.
    """
    while (repaired := _MISREAD.sub(_decoded, text)) != text:
        text = repaired
    return _SOFT_HYPHEN.sub("", repair_windows_characters(text))


def _decoded(match: re.Match[str]) -> str:
    try:
        return bytes(_BYTES[char] for char in match[0]).decode()
    except UnicodeDecodeError:
        return match[0]


def repair_windows_characters(text: str) -> str:
    r"""Replaces C1 control characters by what they mean in Windows-1252 ("\x97" -> "—")."""
    return text.translate(_WINDOWS)


_ENTITY = re.compile(r"& ?((?:#\d+|#[xX][\da-fA-F]+|[A-Za-z]\w*);)|&((?:amp|gt|lt|quot)\b)")


def unescape_entities(text: str) -> str:
    """Resolves HTML entities, twice escaped ones too, and those with a space inside ("& quot;").

    All but the commonest need their semicolon: "AT&notes" holds none.
    """
    while (resolved := _ENTITY.sub(_resolved, text)) != text:
        text = resolved
    return text


def _resolved(match: re.Match[str]) -> str:
    name = match[1] or match[2]
    known = name[0] == "#" or name in html.entities.html5
    return html.unescape(f"&{name}") if known else match[0]


_ESCAPES = re.compile(r"(?:\\u(?!00[0-7])[\da-fA-F]{4})+")


def unescape_unicode(text: str) -> str:
    r"""Resolves "saut\u00e9ed" of a JSON or CSV file; half a surrogate pair is dropped."""
    return _ESCAPES.sub(_joined, text)


def _joined(match: re.Match[str]) -> str:
    units = match[0].encode("ascii").decode("unicode_escape")
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
