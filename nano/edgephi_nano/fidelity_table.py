"""One table of nano in many recipes: bytes, errors with their intervals, KL by mode, loops and rates, all beside fp32.

    python -m edgephi_nano.fidelity_table FOLDER [--rows rtn-32,gptq-128] [--count 64] [--threads 2]

Makes the examples and exports each row in FOLDER, runs `edgephi fidelity` over all of them, and leaves table.md and
table.html there. A row of one purpose answers fewer kinds of requests than the others, so it is compared apart, in
table-NAME.md. What is in FOLDER already is not made again, so an interrupted run goes on, and more rows may be added
later.

Needs espeak-ng's C library and the DejaVu fonts; no PyTorch.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgephi_nano.accuracy import CHECKPOINT
from edgephi_nano.lessons import LESSONS
from edgephi_nano.make_examples import EXAMPLES_NAME, KINDS, write_examples
from edgephi_nano.questions import QuestionSet

REFERENCE = "fp32"
#: Examples that a calibrated row is solved on.
_CALIBRATION_COUNT = 64
_ADAPTERS = "--override '*.lora_?.*=int8:32'"
#: For rows that are solved on examples.
_SOLVED = "--calibration CALIBRATION"
#: Adapters would be solved anew otherwise.
_EXACT = "--keep-adapter-exact"
_LONGEST_REPLY = 64
_SIZES = (32, 128, 256)
#: Methods that need no examples.
_PLAIN = ("rtn", "search")
#: Then nothing but the decoder's linears and adapters loses anything.
_FLOATS = " ".join(f"--override '{name}=float32'" for name in ("lm_head", "vision.*", "speech.*"))
_MIXED = f"--recipe int4 {_ADAPTERS} --absorb {_SOLVED} --sensitivity SENSITIVITY"


def _decoder(format_: str) -> str:
    """Every linear of the decoder in one format; head, adapters and encoders as in the recipe int4."""
    return f"--recipe int4 --override 'layers.*={format_}' {_ADAPTERS}"


def _solved(method: str, size: int, more: str = "") -> str:
    return f"{_decoder(f'int4:{size}')} --method {method} {more or _EXACT} {_SOLVED}"


#: The options of `edgephi export` for each row; CALIBRATION stands for the folder of calibration examples, SENSITIVITY
#: for the file of what a budget measures.
ROWS: dict[str, str] = {
    **{name: f"--recipe {name}" for name in ("int8", "int4", "int4-fast")},
    **{f"int4-prefill-{kind}": f"--recipe int4 --prefill {kind}" for kind in ("int8", "derived")},
    "encoders-int8-rows": "--recipe fp32 --override 'vision.*=int8:rows' --override 'speech.*=int8:rows'",
    **{f"{method}-{size}": f"{_decoder(f'int4:{size}')} --method {method}" for method in _PLAIN for size in _SIZES},
    **{f"{method}-{size}": _solved(method, size) for method in ("weighted", "gptq") for size in _SIZES},
    **{
        f"{method}-{size}-absorb": _solved(method, size, "--absorb")
        for method in (*_PLAIN, "weighted", "gptq")
        for size in _SIZES
    },
    **{f"{method}-128-correct-4": _solved(method, 128, f"{_EXACT} --correct-rank 4") for method in ("rtn", "gptq")},
    # B of few columns takes fewer bytes in floats than in blocks, which are filled up to 32.
    "gptq-128-correct-2": _solved("gptq", 128, f"{_EXACT} --correct-rank 2 --override '*.lora_B.text=float32'"),
    **{f"mixed-{size}MB": f"{_MIXED} --budget {size}MB" for size in ("1.2", "1.3", "1.4", "1.6")},
    "int2-rtn-32": f"{_decoder('int2:32')} --method rtn",
    "int2-search-32": f"{_decoder('int2:32')} --method search",
    "int2-gptq-128": f"{_decoder('int2:128')} --method gptq {_EXACT} {_SOLVED}",
    "int2-gptq-128-absorb": f"{_decoder('int2:128')} --method gptq --absorb {_SOLVED}",
    "everything-int4-256": "--recipe int4 --method rtn --override '*=int4:256'",
    "everything-int2-32": "--recipe int4 --method search --override '*=int2:32'",
}
_ALONE = ("rtn-32", "rtn-128", "rtn-128-absorb", "gptq-128", "gptq-128-absorb")
ROWS |= {f"{name}-alone": f"{ROWS[name]} {_FLOATS}" for name in _ALONE}
#: Rows with one adapter merged, which serves every request.
ONE_PURPOSE = {
    f"int2-absorbed-{name}": f"--recipe int2-absorbed --adapters {name} {_SOLVED}" for name in ("speech", "vision")
}
ROWS |= ONE_PURPOSE
_FILES = {"CALIBRATION": "calibration", "SENSITIVITY": "sensitivity.json"}


def make_rows(folder: Path, names: Iterable[str]) -> list[Path]:
    """Export the reference and every named row that is not there yet.

    Raises:
        subprocess.CalledProcessError: An export failed; the reason is on stderr.
    """
    made = []
    for name, options in {REFERENCE: "--recipe fp32", **{name: ROWS[name] for name in names}}.items():
        path = folder / name
        if not path.is_dir():
            given = [str(folder / _FILES[word]) if word in _FILES else word for word in shlex.split(options)]
            _edgephi("export", str(CHECKPOINT), "-o", str(path), *given)
        made.append(path)
    return made


def make_examples(folder: Path, sets: Sequence[QuestionSet], count: int) -> Path:
    """A folder of examples, unless it is there."""
    if not (folder / EXAMPLES_NAME).is_file():
        write_examples(folder, sets, count)
    return folder


def _edgephi(*arguments: str) -> None:
    program = "from edgephi.__main__ import program; program()"
    subprocess.run([sys.executable, "-c", program, *arguments], check=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", default=",".join(ROWS), help="names of rows, separated by commas")
    parser.add_argument("--count", type=int, default=64, help="examples of each set")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    if unknown := sorted(set(given.rows.split(",")) - ROWS.keys()):
        parser.error(f"unknown row {unknown[0]!r}; known: {', '.join(ROWS)}")
    return given


def main() -> None:
    """Make whatever is missing, and compare."""
    given = _parse()
    folder: Path = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    make_examples(folder / "calibration", LESSONS, _CALIBRATION_COUNT)
    examples = make_examples(folder / f"examples-{given.count}", KINDS["heldout"] + KINDS["stress"], given.count)
    reference, *models = make_rows(folder, given.rows.split(","))
    if routed := [path for path in models if path.name not in ONE_PURPOSE]:
        _compare(reference, routed, examples, folder / "table", given.threads)
    for path in models:
        if path not in routed:
            _compare(reference, [path], examples, folder / f"table-{path.name}", given.threads)


def _compare(reference: Path, models: Sequence[Path], examples: Path, output: Path, threads: int) -> None:
    """Compare them, into `output` with the endings .md and .html."""
    _edgephi(
        "fidelity",
        *map(str, models),
        *("--reference", str(reference), "--examples", str(examples), "--work", str(output.parent / "work")),
        *("--max-new-tokens", str(_LONGEST_REPLY), "--threads", str(threads)),
        *("--markdown", f"{output}.md", "--page", f"{output}.html"),
    )


if __name__ == "__main__":
    main()
