"""Pictures inside the page, as small as print size at screen resolution needs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

#: pixels that the widest figure is shown at, on a screen with two pixels for each of the page's
_WIDEST = 1400
_QUALITY = 80


def picture(path: Path, widest: int = _WIDEST) -> str:
    """Return a figure as a data address, in WebP."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    image.thumbnail((widest, 10 * widest), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    image.save(content, "WEBP", quality=_QUALITY, method=6)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()
