"""Every suite's prompt must be token for token what the public harness asks: the model is sensitive to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.bundle.bundle import Bundle
from edgephi.prompt.prompt import PromptBuilder
from edgephi.prompt.prompt_files import open_prompts
from edgephi_evaluate.answer import Answer, Seconds
from edgephi_evaluate.item import Item
from edgephi_evaluate.metrics.calls import CALLS
from edgephi_evaluate.suites.calls import NOT_MEASURED
from edgephi_evaluate.suites.registry import SUITES, find_suite, suite_files, suite_items
from support.bundles import nano_bundle
from support.prompts import build_prompt

MEDIA = {"image": "a.png", "audio": "a.wav"}
QUESTION = {**MEDIA, "question": "What is it?", "answer": "cup", "answers": ["cup"]}
OPTIONS = {**MEDIA, "question": "Which part?", "options": ["leaf", "root", "stem", "seed"], "answer": "1"}
SHORT = "\nAnswer the question using a single word or phrase."
TEXT = "Transcribe the audio clip into text."
SPOKEN = {"id": "1", "images": ["a.png"], "audio": ["a.wav"], "answers": ["cup"]}
SPOKEN_SUITES = ("s-ai2d", "s-chartqa", "s-docvqa", "s-infovqa")
#: Suite, file, row, the prompt that the public harness makes, and what counts as right.
CASES = [
    ("openasr-2025", "ami/test-0.jsonl", {"audio": "a.wav", "text": "hi"}, f"<|audio_1|>{TEXT}", ("hi",)),
    (
        "openasr-2025",
        "earnings22/test.jsonl",
        {"audio": "a.wav", "text": "hi"},
        "<|audio_1|>Transcribe the audio clip to English text.",
        ("hi",),
    ),
    ("openasr-2026", "ami_cleaned/test.jsonl", {"audio": "a.wav", "text": "hi"}, f"<|audio_1|>{TEXT}", ("hi",)),
    (
        "multilingual-asr",
        "fleurs_de/test.jsonl",
        {"audio": "a.wav", "text": "Guten Tag"},
        "<|audio_1|>Transcribe the German audio clip into text.",
        ("Guten Tag",),
    ),
    ("character-asr", "fleurs_zh/test.jsonl", {"audio": "a.wav", "text": "你好"}, f"<|audio_1|>{TEXT}", ("你好",)),
    (
        "covost2",
        "en_zh-CN/test.jsonl",
        {"audio": "a.wav", "sentence": "Hello", "translation": "你好"},
        "<|audio_1|>Translate the audio to Chinese.",
        ("你好",),
    ),
    (
        "fleurs-translation",
        "de_en/test.jsonl",
        {"audio": "a.wav", "translation": "Hello"},
        "<|audio_1|>Translate the audio to English.",
        ("Hello",),
    ),
    (
        "ai2d",
        "test-0.jsonl",
        OPTIONS,
        "<|image_1|>Which part?\nA. leaf\nB. root\nC. stem\nD. seed\n"
        "Answer with the option's letter from the given choices directly.",
        ("B",),
    ),
    (
        "ai2d-vlmevalkit",
        "AI2D_TEST.jsonl",
        {"index": 3, "image": "a.png", "question": "Which part?", "A": "leaf", "B": "root", "answer": "A"},
        "<|image_1|>Question: Which part?\nOptions:\nA. leaf\nB. root\n"
        "Please select the correct answer from the options above. \n",
        ("A",),
    ),
    ("chartqa", "test.jsonl", QUESTION, "<|image_1|>What is it?\nAnswer the question with a single word.", ("cup",)),
    ("chartqa-vlmevalkit", "ChartQA_TEST.jsonl", QUESTION, f"<|image_1|>What is it?{SHORT}", ("cup",)),
    ("docvqa", "validation.jsonl", QUESTION, f"<|image_1|>What is it?{SHORT}", ("cup",)),
    ("infovqa", "validation.jsonl", QUESTION, f"<|image_1|>What is it?{SHORT}", ("cup",)),
    ("textvqa", "validation.jsonl", QUESTION, f"<|image_1|>What is it?{SHORT}", ("cup",)),
    ("ocrbench", "test.jsonl", QUESTION, "<|image_1|>What is it?", ("cup",)),
    *((name, "items.jsonl", SPOKEN, "<|image_1|><|audio_1|>", ("cup",)) for name in SPOKEN_SUITES),
]


@pytest.fixture(scope="module")
def prompts() -> PromptBuilder:
    return open_prompts(Bundle(nano_bundle()))


def _items(folder: Path, suite: str, file: str, row: dict) -> list[Item]:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in MEDIA.values():
        (path.parent / name).write_bytes(b"media")
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    return list(suite_items(find_suite(suite), suite_files(find_suite(suite), folder)))


def _ids(prompts: PromptBuilder, item: Item) -> list[int]:
    """As the runtime makes them of an item."""
    messages = [
        {"role": turn.role, "content": turn.text} | ({} if turn.tools is None else {"tools": turn.tools})
        for turn in item.turns
    ]
    made = build_prompt(prompts, messages, images=[b""] * len(item.images), audio=[b""] * len(item.audio))
    return made.token_ids.tolist()


def _wanted(text: str) -> list[int]:
    """By the public tokenizer alone, of the prompt as the harness writes it."""
    tokenizer = Tokenizer.from_file(str(nano_bundle() / "tokenizer.json"))
    tokens = Bundle(nano_bundle()).manifest.tokens
    for tag, slot in (("<|image_1|>", tokens.image), ("<|audio_1|>", tokens.audio)):
        text = text.replace(tag, tokenizer.id_to_token(slot))
    return tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def test_a_prompt_is_that_of_the_harness(prompts: PromptBuilder, tmp_path: Path, case: tuple):
    suite, file, row, asked, answers = case
    (item,) = _items(tmp_path, suite, file, row)
    assert _ids(prompts, item) == _wanted(f"<|user|>{asked}<|end|><|assistant|>")
    assert item.answers == answers


def test_mmlu_asks_with_five_examples_of_the_subject(prompts, tmp_path: Path):
    row = {"question": "1 + 1?", "subject": "abstract_algebra", "choices": ["1", "2", "3", "4"], "answer": 1}
    (tmp_path / "dev.jsonl").write_text((json.dumps(row) + "\n") * 6, encoding="utf-8")
    (item,) = _items(tmp_path, "mmlu", "test.jsonl", row)
    block = "1 + 1?\nA) 1\nB) 2\nC) 3\nD) 4\nAnswer:\n"
    system = (
        "The following are multiple choice questions about abstract algebra.\nAnswer the last question by selecting "
        "the correct option character, 'A', 'B', 'C' or 'D', do not add any other text.\n\n"
    )
    asked = f"{block}B\n\n" * 5 + block
    assert _ids(prompts, item) == _wanted(f"<|system|>{system}<|end|><|user|>{asked}<|end|><|assistant|>")
    assert (item.answers, item.part) == (("B",), "abstract algebra")
    (tmp_path / "dev.jsonl").unlink()
    with pytest.raises(ArtifactError, match="no 5 examples of abstract algebra"):
        _items(tmp_path, "mmlu", "test.jsonl", row)


def test_bfcl_offers_its_functions_and_takes_the_right_calls_from_the_wheel(prompts, tmp_path: Path):
    function = {"name": "book", "description": "Book", "parameters": {"type": "dict", "properties": {}, "required": []}}
    row = {"id": "simple_python_0", "question": [[{"role": "user", "content": "Book it"}]], "function": [function]}
    (tmp_path / "possible_answer").mkdir()
    truth = {"id": "simple_python_0", "ground_truth": [{"book": {}}]}
    (tmp_path / "possible_answer/BFCL_v4_simple_python.jsonl").write_text(json.dumps(truth), encoding="utf-8")
    (item,) = _items(tmp_path, "bfcl", "BFCL_v4_simple_python.jsonl", row)
    offered = {**function, "description": "Book Note that the provided function is in Python 3 syntax."}
    system = f"You are a helpful assistant with some tools.<|tool|>{json.dumps([offered])}<|/tool|>"
    assert _ids(prompts, item) == _wanted(f"<|system|>{system}<|end|><|user|>Book it<|end|><|assistant|>")
    assert item.answers == ('[{"book": {}}]',)


def test_bfcl_offers_java_with_its_types_in_words_and_judges_by_them(tmp_path: Path):
    names = {"description": "Names.", "type": "ArrayList", "items": {"type": "String"}}
    properties = {"names": names, "sink": {"description": "Sink.", "type": "any"}}
    function = {"name": "put", "description": "Put.", "parameters": {"properties": properties, "required": ["names"]}}
    row = {"id": "simple_java_0", "question": [[{"role": "user", "content": "Put a"}]], "function": [function]}
    (tmp_path / "possible_answer").mkdir()
    truth = {"id": "simple_java_0", "ground_truth": [{"put": {"names": [["a"]], "sink": ["out"]}}]}
    (tmp_path / "possible_answer/BFCL_v4_simple_java.jsonl").write_text(json.dumps(truth), encoding="utf-8")
    (item,) = _items(tmp_path, "bfcl", "BFCL_v4_simple_java.jsonl", row)
    (offered,) = json.loads(item.turns[0].tools or "")
    assert offered["description"] == "Put. Note that the provided function is in Java 8 SDK syntax."
    assert offered["parameters"]["properties"] == {
        "names": {
            "type": "string",
            "description": "Names. This is Java ArrayList type parameter in string representation. The list elements "
            "are of type String; they are not in string representation.",
        },
        "sink": {
            "type": "string",
            "description": "Sink. This parameter can be of any type of Java object in string representation.",
        },
    }
    for names_given, mark in (('new ArrayList<>(Arrays.asList("a"))', 1.0), (["a"], 0.0), ('"a"', 0.0)):
        call = json.dumps([{"name": "put", "arguments": {"names": names_given, "sink": "out"}}])
        answer = Answer(text="", marked_text=f"<|tool_call|>{call}<|/tool_call|>", seconds=Seconds(total=1.0))
        assert CALLS.score(item, answer).counts == (mark, 1.0), names_given


def test_categories_of_bfcl_that_are_not_measured_are_refused_with_the_reason():
    for name in NOT_MEASURED:
        with pytest.raises(ConfigError, match=f"{name}: not measured here, for "):
            find_suite(name)


def test_rows_are_left_out_and_grouped_as_the_harness_does(tmp_path: Path):
    empty = {"audio": "a.wav", "text": "uh, [noise]"}
    assert _items(tmp_path, "openasr-2025", "ami/test.jsonl", empty) == []
    chart = {**QUESTION, "type": "human_test", "imgname": "7.png"}
    (item,) = _items(tmp_path / "chart", "chartqa", "test.jsonl", chart)
    assert (item.part, item.group) == ("human", "chartqa/7.png")
    formula = {**QUESTION, "question_type": "Handwritten Mathematical Expression Recognition", "dataset": "HME100k"}
    (item,) = _items(tmp_path / "ocr", "ocrbench", "test.jsonl", formula)
    assert item.part == "HME100k"


def test_every_suite_can_be_described_and_its_published_figures_name_its_parts():
    for suite in SUITES.values():
        parts = {part.name for part in suite.parts} | {""}
        assert {one.part for one in suite.published} <= parts, suite.name
        assert suite.summary
        assert all(one.source for one in suite.published)
    assert len(SUITES) > 30


def test_the_published_figure_of_openasr_is_the_mean_of_its_parts():
    published = {one.part: one.value for one in find_suite("openasr-2025").published}
    whole = published.pop("")
    assert round(sum(published.values()) / len(published), 2) == whole == 6.14


def test_spoken_questions_need_recordings_of_ones_own(tmp_path: Path):
    (tmp_path / "test.jsonl").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"holds neither items\.jsonl nor items"):
        suite_files(find_suite("s-docvqa"), tmp_path)
    with pytest.raises(ConfigError, match="no such suite; known: openasr-2025"):
        find_suite("docvqa2")
