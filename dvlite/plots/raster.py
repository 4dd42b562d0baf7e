"""Charts as PNG, by resvg (the extra `dvlite[png]`), which knows nothing of networks."""

from __future__ import annotations

from dvlite.errors import UsageError

# Sharp on screens with two pixels for each of theirs, and in papers at 12 cm.
_ZOOM = 2.0
# What Linux machines without a desktop have most often; if not, resvg takes another.
_FONT = "DejaVu Sans"


def to_png(svg: str) -> bytes:
    """Draws an SVG of ours.

    Raises:
        UsageError: resvg-py is not installed.
    """
    try:
        import resvg_py
    except ImportError as error:
        raise UsageError(
            "PNG needs the package resvg-py, which is not installed",
            "pip install 'dvlite[png]'; or write SVG: --svg",
        ) from error
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=_ZOOM, sans_serif_family=_FONT))
