"""Writing SVG: elements, escaped text, numbers, and how wide text will be.

Owns that nothing from data or repositories can become markup: every attribute and every text goes
through `escape`. Characters that XML forbids are shown as U+FFFD, so that the result is always
well-formed.
"""

from __future__ import annotations

import re

# XML 1.0, section 2.2: all others may not even be written as references.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NARROW = frozenset("iljI|!.,:;'`()[]{} tfr")
_WIDE = frozenset("mwMW@%")


def escape(text: str) -> str:
    """Text for XML and HTML, in content and in attributes with double quotes."""
    safe = _FORBIDDEN.sub("\ufffd", text)
    for char, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        safe = safe.replace(char, name)
    return safe.replace("'", "&#39;")


def number(value: float) -> str:
    """A coordinate: a tenth of a pixel is finer than any screen shows."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def element(tag: str, *children: str, **attributes: str | float | None) -> str:
    """`<tag a="b">children</tag>`; children are markup. `class_` and `text_anchor` are written
    `class` and `text-anchor`; None leaves an attribute out."""
    written = "".join(
        f' {_name(key)}="{escape(value) if isinstance(value, str) else number(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(children)
    return f"<{tag}{written}>{inside}</{tag}>" if inside else f"<{tag}{written}/>"


def text(
    words: str, x: float, y: float, class_: str = "t", anchor: str | None = None, most: float = 0
) -> str:
    """One line of text, cut off at `most` pixels (its whole is then its tooltip)."""
    shown = shorten(words, most) if most else words
    whole = element("title", escape(words)) if shown != words else ""
    return element("text", escape(shown), whole, x=x, y=y, class_=class_, text_anchor=anchor)


def width_of(words: str, size: float = 12.0) -> float:
    """About how many pixels text takes; the font is the reader's, so a little more than less."""
    units = sum(
        0.34 if char in _NARROW else 0.92 if char in _WIDE or ord(char) > 0x2E80 else 0.6
        for char in words
    )
    return units * size


def shorten(words: str, most: float, size: float = 12.0) -> str:
    """Text that fits into so many pixels, with an ellipsis where something was cut off."""
    if width_of(words, size) <= most:
        return words
    kept = words[: int(most / size / 0.3)]
    while kept and width_of(kept + "…", size) > most:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-") if key not in _CAMEL else _CAMEL[key]


_CAMEL = {"viewBox": "viewBox", "preserveAspectRatio": "preserveAspectRatio"}
