"""The words the demo model knows, in one place.

They are spoken, in lower case, and in groups.
"""


def words(text: str) -> tuple[str, ...]:
    """The words of `text`: lets lists of words be written as one line of text."""
    return tuple(text.split())


ONES = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")
NUMBERS = (*ONES, *TENS, "hundred")

COLOURS = words("red green blue yellow orange purple black white")
SHAPES = words("circle square triangle star")

ROOMS = words("kitchen bedroom bathroom garage hall office garden")
DEVICES = words("lamp light fan heater door window blind alarm music radio timer camera oven")
ACTIONS = words("turn switch set dim open close lock start stop play")
UNITS = words("degrees percent minutes")

ANIMALS = words("cat dog bird horse")
THINGS = words("table chair box book tree house car ball")
QUALITIES = words("big small old new happy")
RELATIONS = words("near under behind")
FEELINGS = words("sees likes finds has")

QUESTION_WORDS = words("what which does say is shown number colour shape sign bar tallest")
FUNCTION_WORDS = words("the a on off to in for and my please now good morning evening hello")

WORDS: tuple[str, ...] = (
    *NUMBERS, *COLOURS, *SHAPES, *ROOMS, *DEVICES, *ACTIONS, *UNITS, *ANIMALS, *THINGS, *QUALITIES, *RELATIONS,
    *FEELINGS, *QUESTION_WORDS, *FUNCTION_WORDS,
)  # fmt: skip
"""Every spoken word, each once, in a fixed order."""

HOMOPHONES = frozenset({"to", "for"})
"""Words that sound like a number: only the sentence around them tells which is meant."""
