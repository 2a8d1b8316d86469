"""Hostile text stays text: in replies, names of files and models, errors, transcripts and opened conversations."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.page_actions import SAMPLES, replies, say, wait_for_text
from support.page_server import PageServer, ending, text

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

VECTORS = [
    "<script>hit=1</script>",
    "<img src=x onerror=hit=1>",
    "<svg onload=hit=1>",
    "<svg><script>hit=1</script></svg>",
    "<iframe src='javascript:parent.hit=1'></iframe>",
    "<iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    "<a href='javascript:hit=1'>x</a>",
    "<body onload=hit=1>",
    "<details open ontoggle=hit=1>",
    "<style>*{display:none}</style>",
    "<form action=//evil.test><input name=q></form>",
    "<object data='javascript:hit=1'></object>",
    "<embed src=//evil.test>",
    "<link rel=stylesheet href=//evil.test/a.css>",
    "<base href=//evil.test>",
    "<meta http-equiv=refresh content='0;//evil.test'>",
    "<math><mtext><img src=x onerror=hit=1>",
    "<!--<img src=--><img src=x onerror=hit=1>",
    "<video><source onerror=hit=1>",
    "<template><script>hit=1</script></template>",
    "<input autofocus onfocus=hit=1>",
    '"><img src=x onerror=hit=1>',
    "'><script>hit=1</script>",
    "</textarea><script>hit=1</script>",
    "<scr<script>ipt>hit=1</scr</script>ipt>",
    "[x](javascript:hit=1)",
    "[x](JaVaScRiPt:hit=1)",
    "[x](java\tscript:hit=1)",
    "[x](\x01javascript:hit=1)",
    "[x]( javascript:hit=1 )",
    "[x](<javascript:hit=1>)",
    "[x](data:text/html,<script>hit=1</script>)",
    "[x](vbscript:hit=1)",
    "[x](file:///etc/passwd)",
    "[x](blob:https://evil.test/1)",
    "[x](//evil.test)",
    "[x](https://bank.test@evil.test)",
    "[x](https:evil.test)",
    "[x](javascript&colon;hit=1)",
    "[x](&#106;avascript:hit=1)",
    "![x](https://evil.test/p.png)",
    "![x](javascript:hit=1)",
    '![x](https://evil.test/?q=secret "t" onerror=hit=1)',
    "<javascript:hit=1>",
    "<data:text/html,hit>",
    "javascript:hit=1",
    'https://a.test/"onmouseover=hit=1//',
    "https://a.test/'><script>hit=1</script>",
    '[a](https://a.test/"onclick=hit=1)',
    "[![x](https://evil.test/p.png)](javascript:hit=1)",
]
PLACES = ["{}", "# {}", "- {}\n  > {}", "| {} |\n|---|\n| {} |", "**{}** _{}_ ~~{}~~", "`{}`\n\n```{}\n{}\n```"]
#: Everything the page may make of a reply; other names and attributes fail the tests.
FAULTS = """(root) => {
  const names = ['P', 'H3', 'H4', 'H5', 'H6', 'HR', 'BR', 'BLOCKQUOTE', 'OL', 'UL', 'LI', 'PRE', 'CODE', 'TABLE',
    'THEAD', 'TBODY', 'TR', 'TH', 'TD', 'EM', 'STRONG', 'DEL', 'A', 'DIV', 'SPAN', 'BUTTON'];
  const attributes = ['dir', 'class', 'href', 'target', 'rel', 'title', 'start', 'tabindex', 'role',
    'aria-label', 'type'];
  const faults = [];
  for (const node of root.querySelectorAll('*')) {
    if (!names.includes(node.tagName)) faults.push(node.outerHTML);
    for (const { name } of node.attributes) if (!attributes.includes(name)) faults.push(node.outerHTML);
    if (node.tagName !== 'A') continue;
    const isSafe = /^(https?:\\/\\/|mailto:)/.test(node.href) && !node.username && node.rel.includes('noopener');
    if (!isSafe) faults.push(node.outerHTML);
  }
  return window.hit ? ['a script ran'] : faults;
}"""
RENDER = f"""async (texts) => {{
  const {{ MarkdownView }} = await import('/page/markdown.js');
  const faults = {FAULTS};
  return texts.map((text) => {{
    const root = document.createElement('div');
    document.body.append(root);
    const began = performance.now();
    new MarkdownView(root).update(text);
    const time = performance.now() - began;
    const found = faults(root);
    root.remove();
    return [found, time];
  }});
}}"""
HOSTILE = "<img src=x onerror=hit=1>\u202egnp.exe"


def test_300_payloads_become_text_or_safe_links(staged: Page):
    texts = [place.replace("{}", vector) for vector in VECTORS for place in PLACES]
    assert len(texts) == 300
    for given, (faults, _) in zip(texts, staged.evaluate(RENDER, texts), strict=True):
        assert faults == [], given


def test_payloads_that_are_streamed_letter_by_letter_become_text_or_safe_links(staged: Page, scripted: PageServer):
    whole = "\n\n".join(VECTORS)
    scripted.script.stream = [text(whole[at : at + 7]) for at in range(0, len(whole), 7)] + ending()
    say(staged, "hi")
    replies(staged)
    assert staged.locator(".prose").evaluate(FAULTS) == []
    assert "<script>hit=1</script>" in staged.locator(".prose").inner_text()


def test_random_compositions_become_text_or_safe_links(staged: Page):
    draw = random.Random(7)
    pieces = [
        *VECTORS,
        *"*_`[]()<>!|#->~&;\\\"'\n",
        "\n\n",
        "```",
        "**",
        "~~",
        "](",
        "](https://",
        "javascript:",
        "    ",
        "1. ",
        "<b>",
    ]
    texts = ["".join(draw.choices(pieces, k=draw.randint(2, 60))) for _ in range(1000)]
    for given, (faults, _) in zip(texts, staged.evaluate(RENDER, texts), strict=True):
        assert faults == [], given


def test_long_text_of_marks_takes_no_long_time(staged: Page):
    pieces = ["*a", "**a *b* ", "_a ", "```a`", "[", "[a](http://(", "> ", "- ", "|a", "a|b\n-|-\n"]
    pieces += ["http://", "<http://", "# ", "~~a"]
    for piece in pieces:
        [[faults, time_ms]] = staged.evaluate(RENDER, [piece * (60_000 // len(piece))])
        assert faults == [], piece
        assert time_ms < 1500, piece


def test_markdown_is_shown_as_it_is_meant(staged: Page, scripted: PageServer):
    source = (
        "# Title\n\nOne **bold *both*** and `code`\nnext\n\n1. first\n   - inner\n2. second\n\n> quote\n\n"
        "| a | b |\n|---|--:|\n| 1 | x\\|y |\n\n```py\nif a < b:\n    pass\n```\n\n"
        "[link](https://a.test/b_(c)) snake_case_name 2 * 3"
    )
    scripted.script.stream = [*map(text, source), *ending()]
    say(staged, "hi")
    replies(staged)
    shown = staged.locator(".prose").evaluate(
        "root => { root.querySelectorAll('.head').forEach((head) => head.remove());"
        ' return root.innerHTML.replace(/ (dir|class|tabindex|role|aria-label|target|rel|title)="[^"]*"/g, \'\') }'
    )
    assert shown == (
        "<h3>Title</h3><p>One <strong>bold <em>both</em></strong> and <code>code</code><br>next</p>"
        '<ol start="1"><li><p>first</p><ul><li><p>inner</p></li></ul></li><li><p>second</p></li></ol>'
        "<blockquote><p>quote</p></blockquote>"
        "<div><table><thead><tr><th>a</th><th>b</th></tr></thead>"
        "<tbody><tr><td>1</td><td>x|y</td></tr></tbody></table></div>"
        "<div><pre><code>if a &lt; b:\n    pass</code></pre></div>"
        '<p><a href="https://a.test/b_(c)">link</a> snake_case_name 2 * 3</p>'
    )


def test_hostile_names_of_files_models_and_functions_and_errors_are_text(
    staged: Page, scripted: PageServer, tmp_path: Path
):
    page = staged
    recording = {"name": f"{HOSTILE}.wav", "mimeType": "audio/wav", "buffer": (SAMPLES / "sentence.wav").read_bytes()}
    for kind, given in (("image", {**recording, "name": HOSTILE, "mimeType": "image/png"}), ("audio", recording)):
        page.set_input_files(f"#{kind}-file", given)
        wait_for_text(page, "#hint" if kind == "image" else "#attached", HOSTILE)
    call = {"index": 0, "id": "1", "type": "function", "function": {"name": HOSTILE, "arguments": HOSTILE}}
    scripted.script.stream = [{"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}, *ending()]
    page.click("#send")
    wait_for_text(page, ".code .head", HOSTILE)
    scripted.script.status, scripted.script.error = 400, {"message": HOSTILE}
    say(page, HOSTILE)
    wait_for_text(page, ".problem", HOSTILE)
    scripted.script.status, scripted.script.model["id"] = 200, HOSTILE
    saved = tmp_path / "c.json"
    saved.write_text(json.dumps([{"role": "user", "content": HOSTILE}, {"role": "assistant", "content": HOSTILE}]))
    page.reload()
    wait_for_text(page, "#model", HOSTILE)
    page.click("#open-settings")
    page.set_input_files("#conversation-file", saved)
    wait_for_text(page, ".user", HOSTILE)
    scripted.script.stream = [
        {"type": "transcript.text.segment", "start": 0, "end": 1, "text": HOSTILE}, {"type": "transcript.text.done"},
    ]  # fmt: skip
    page.click("#to-transcribe")
    page.set_input_files("#recording-file", recording)
    page.click("#start")
    wait_for_text(page, "#segments", HOSTILE)
    assert page.evaluate("() => window.hit") is None
    assert page.locator("img").count() == 0


def test_nothing_is_kept_beyond_the_tab(page: Page, server: Any):
    say(page, "hello")
    replies(page)
    kept = "() => [localStorage.length, document.cookie.length, navigator.serviceWorker?.controller ?? null]"
    assert page.evaluate(kept) == [0, 0, None]
    other = page.context.new_page()
    other.goto(server.url)
    assert other.locator(".turn").count() == 0
