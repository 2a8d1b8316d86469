"""The command behind `make mutations` must not call a mistake caught that no test finds, nor leave one behind."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from mutations.listing import ListError, Mutation, read_lists
from mutations.report import as_json, table
from mutations.runner import CopyError, FailingTestsError, run

#: Named as an installed package: the one of the tree must be imported.
_SOURCE = "def half(number):\n    return number // 2  # rounds down\n\ndef twice(number):\n    return 2 * number\n"
_TEST = "from edgephi_quantize.halves import half\n\ndef test_half():\n    assert half(5) == 2\n"
_FILE, _TESTS = "quantize/edgephi_quantize/halves.py", "tests/test_halves.py"
CAUGHT = Mutation(name="up", file=_FILE, old="number // 2", new="-(-number // 2)", why="5 is 3", tests=(_TESTS,))
SURVIVES = replace(CAUGHT, name="thrice", old="2 * number", new="3 * number", why="twice is thrice")
UNREADABLE = replace(CAUGHT, name="unreadable", old="def half", new="1 / 0\ndef half", why="nothing can be imported")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name, text in {_FILE: _SOURCE, "quantize/edgephi_quantize/__init__.py": "", _TESTS: _TEST}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    subprocess.run(["git", "-C", str(root), "add", "."], check=True)
    return root


def test_each_mistake_is_made_alone_and_judged_by_the_tests(tree: Path):
    lines: list[str] = []
    outcomes = run(
        tree, [SURVIVES, CAUGHT, UNREADABLE, replace(CAUGHT, name="gone", old="number // 3")], 1, lines.append
    )
    assert [outcome.verdict for outcome in outcomes] == ["survived", "caught", "error", "error"]
    assert outcomes[1].by == f"{_TESTS}::test_half"
    assert "quantize/edgephi_quantize/halves.py has the old text 0 times" in outcomes[3].by
    assert (tree / _FILE).read_text(encoding="utf-8") == _SOURCE
    assert lines[-1].startswith("[4/4] error: gone; about 0.0 min left")
    assert json.loads(as_json(outcomes))["counts"] == {"caught": 1, "survived": 1, "error": 2}
    assert "thrice in quantize/edgephi_quantize/halves.py: twice is thrice\n- 2 * number\n+ 3 * number" in table(
        outcomes
    )


def test_nothing_is_judged_by_tests_that_fail_anyway(tree: Path):
    (tree / _TESTS).write_text(_TEST.replace("== 2", "== 3"), encoding="utf-8")
    with pytest.raises(FailingTestsError, match=r"without any mutation:\ntests/test_halves.py: .*::test_half"):
        run(tree, [CAUGHT], 1, [].append)


def test_without_git_it_says_what_is_needed(tmp_path: Path):
    with pytest.raises(CopyError, match="is no git checkout"):
        run(tmp_path, [CAUGHT], 1, [].append)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"old": "number"}, "old text 4 times, not once"),
        ({"file": "quantize/gone.py"}, "no file quantize/gone.py"),
        ({"new": "number // 2"}, "the new text is the old one"),
        ({"new": "number //"}, "is no Python"),
        ({"tests": ()}, "no test is named"),
        ({"tests": ("tests/test_gone.py",)}, "no test file tests/test_gone.py"),
        ({"tests": (f"{_TESTS}::test_third",)}, "has no test_third"),
    ],
)
def test_an_entry_that_proves_nothing_is_refused(tree: Path, change: dict[str, str], message: str):
    mutation = replace(CAUGHT, **change)  # type: ignore[arg-type]
    with pytest.raises(ListError, match=message):
        mutation.check_tests(mutation.changed(tree) and tree)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[mutation]]\nname = 3", "wrong or missing key"),
        ("[[mutation]]\nname='a'\nfile='a'\nold='a'\nnew='b'\nwhy='c'\ntests='d'", "a list of texts"),
        ("[[mutation]]\nname='a'\nfile='a'\nold='a'\nnew='b'\nwhy='c'\ntests=[]\n" * 2, "two mutations are named a"),
        ("other = 1", r"write \[\[mutation\]\] tables"),
        ("[[", "list.toml"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "list.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ListError, match=message):
        read_lists(tmp_path)
