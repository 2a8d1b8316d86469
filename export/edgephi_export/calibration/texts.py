"""The conversations that every int8 cache is calibrated with.

The texts are short, because what counts is variety: a channel's largest value
comes with a kind of text, seldom with more of the same. Every conversation ends with an assistant's turn.
"""

# ruff: noqa: RUF001 - other scripts have letters and signs that look like Latin ones

from __future__ import annotations

from typing import Any

Conversation = tuple[dict[str, Any], ...]


def _talk(*turns: str, system: str | None = None) -> Conversation:
    """Turns of the user and the assistant, one after the other."""
    first: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
    roles = ("user", "assistant")
    return (*first, *({"role": roles[place % 2], "content": turn} for place, turn in enumerate(turns)))


_WEATHER_TOOLS: Conversation = (
    {
        "role": "system",
        "content": "You are a helpful assistant with some tools.",
        "tools": [
            {
                "name": "get_weather",
                "description": "The weather at a place.",
                "parameters": {"city": {"type": "str", "description": "Name of the city.", "default": "Oslo"}},
            }
        ],
    },
    {"role": "user", "content": "Do I need an umbrella in Bergen tomorrow?"},
    {"role": "assistant", "tool_calls": [{"name": "get_weather", "arguments": {"city": "Bergen", "days": 1}}]},
)

CONVERSATIONS: tuple[Conversation, ...] = (
    _talk(
        "Why do leaves change their colour in autumn?",
        "As the days grow shorter, a tree takes back the green chlorophyll of its leaves and stores what it can use. "
        "Yellow and orange pigments, which were there all summer, become visible; red ones are made only now, from "
        "sugar that is left in the leaf. The colder and sunnier the weather, the brighter they are.",
        "Shorter, please.",
        "The green is withdrawn, the yellow remains, and sugar makes the red.",
        system="You answer in plain words.",
    ),
    _talk(
        "Write a function that returns the n-th Fibonacci number, and a test.",
        "```python\ndef fibonacci(n: int) -> int:\n    if n < 0:\n        raise ValueError(f'n is {n}')\n"
        "    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n\n\n"
        "def test_fibonacci():\n    assert [fibonacci(i) for i in range(8)] == [0, 1, 1, 2, 3, 5, 8, 13]\n```",
    ),
    _talk(
        'Turn this into JSON: order 4711, two lamps at 39.90 EUR, one cable at 7.5 EUR, ship to Łódź.\n\n\n\t"urgent"',
        '{"order": 4711, "items": [{"name": "lamp", "count": 2, "price": 39.90}, {"name": "cable", "count": 1, '
        '"price": 7.5}], "city": "Łódź", "urgent": true, "total": 87.3, "note": null}',
    ),
    _talk(
        "SELECT name, SUM(amount) FROM sales WHERE year >= 2019 GROUP BY name HAVING SUM(amount) > 1e6: what is it?",
        "It adds up each name's sales since 2019 and keeps those above 1,000,000:\n\n| name | sum |\n|---|---:|\n"
        "| North | 1,204,518.25 |\n| South | 3,000,001.00 |",
    ),
    _talk(
        "17 * 23 - 4^3 / 8 = ? Und in Worten auf Deutsch, bitte.",
        "17 · 23 = 391; 4³ = 64; 64 / 8 = 8; 391 - 8 = 383. In Worten: dreihundertdreiundachtzig. Übrigens ist 383 "
        "eine Primzahl, wie man durch Teilen bis 19 leicht prüft.",
    ),
    _talk(
        "Traduisez : « The train to Marseille leaves at a quarter past nine. » ¿Y en español? E in italiano?",
        "« Le train pour Marseille part à neuf heures et quart. » «El tren a Marsella sale a las nueve y cuarto.» «Il "
        "treno per Marsiglia parte alle nove e un quarto.»",
    ),
    _talk("请用一句话介绍长城。", "长城是中国古代修建的一系列防御工事，绵延两万多公里，是世界文化遗产。"),
    _talk("東京から京都までどのくらいかかりますか。", "新幹線で約二時間十五分です。料金は約一万四千円です。"),
    _talk(
        "Сколько планет в Солнечной системе?", "Восемь: Меркурий, Венера, Земля, Марс, Юпитер, Сатурн, Уран, Нептун."
    ),
    _talk(
        "ما هي عاصمة المغرب؟ भारत की राजधानी क्या है?",
        "عاصمة المغرب هي الرباط. भारत की राजधानी नई दिल्ली है। 서울은 한국의 수도입니다.",
    ),
    _talk(
        "tHiS iS a TEST!!! aaaaaaaa 0000000000 <<<>>> ~~~ https://example.org/a?b=c&d=%20 ¯\\_(ツ)_/¯ 😀🚀",
        "That looks like a keyboard being tried out. Everything arrived: letters, digits, signs and two emoji.",
    ),
    (
        *_WEATHER_TOOLS,
        {"role": "tool", "content": '[{"city": "Bergen", "rain_mm": 14.2, "wind_m_s": 9, "celsius": [6, 9]}]'},
        {"role": "assistant", "content": "Yes: 14 mm of rain are expected in Bergen, with wind and 6 to 9 degrees."},
    ),
    _talk(
        "Summarize: The committee met on 3 March. It approved the budget of 2.4 million, postponed the question of the "
        "bridge until the survey of the river bed is complete, and elected Ms Okafor as its chair with seven votes to "
        "two. Mr Lindqvist asked for a second opinion on noise, which the engineers will give within six weeks.",
        "1. Budget of 2.4 million approved.\n2. Bridge postponed until the river survey.\n3. Ms Okafor elected chair "
        "(7:2).\n4. Noise opinion due in six weeks.",
    ),
)
