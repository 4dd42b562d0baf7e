"""The page in a real browser: charts are drawn, and not a single request leaves it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dvlite.plots.options import parse_options
from dvlite.plots.page import Page, render
from dvlite.plots.panels import Content, Panel, Plot, make_panel

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="NOT TESTED: the page of plots in a browser (apt-get install chromium)"
)
PROBE = (
    "<script>document.title = 'HACKED'</script><img src='{url}/img'><iframe src='{url}/f'></iframe>"
    "<link rel=stylesheet href='{url}/css'><style>body{{background:url({url}/bg)}}</style>"
    "<form action='{url}/form'></form>"
)


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """A server that remembers every request."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def opened(path: Path, profile: Path) -> str:
    """The page's elements after its scripts ran."""
    command = [
        *(str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"),
        *("--disable-dev-shm-usage", f"--user-data-dir={profile}", "--virtual-time-budget=2000"),
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def panels(url: str) -> list[Panel]:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}/svg"/></svg>'.encode()
    data = f'step,"<img src={url}/data>"\n0,1\n1,2\n2,1.5\n'.encode()
    content = Content(
        {(path, at): one for at in (0, 1) for path, one in (("a.csv", data), ("a.svg", svg))}
    )
    names = ("now", f"<img src={url}/rev>")
    plots = [
        Plot("line", "a.csv", parse_options({"x": "step"}, "")),
        Plot("scatter", "a.csv", parse_options({"x": "step", "template": "scatter"}, "")),
        Plot("bar", "a.csv", parse_options({"x": "step", "template": "bar"}, "")),
        Plot("a.svg", "a.svg"),
    ]
    return [make_panel(plot, content, names) for plot in plots]


def test_charts_are_drawn_and_nothing_is_requested(tmp_path: Path) -> None:
    with listening() as (url, asked):
        page = Page("Plots", ("now", f"<img src={url}/rev>"), panels(url))
        path = tmp_path / "index.html"
        # a template is somebody's HTML: whatever is in it, the policy holds
        path.write_text(render(page, PROBE.format(url=url) + "{{style}}{{plots}}{{script}}"))
        found = opened(path, tmp_path / "profile")
        assert asked == []
    assert "<title>HACKED" not in found
    assert found.count("<svg") == 3
    # what our script adds: it ran although the policy lets no other run
    assert found.count('class="tip"') == 2


def test_the_script_and_the_revisions_work(tmp_path: Path) -> None:
    text = render(Page("Plots", ("now", "then"), panels("http://127.0.0.1:9")))
    path = tmp_path / "index.html"
    path.write_text(text)
    found = opened(path, tmp_path / "profile")
    assert found.count('type="checkbox"') == 2
    values = [json.loads(html.unescape(one)) for one in re.findall(r'data-v="([^"]+)"', found)]
    assert {"x": ["0", "1", "2"], "y": ["1", "2", "1.5"]} in values
