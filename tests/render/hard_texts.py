"""Random texts of the kinds that tokenizers trip over. In: a generator, the control tokens to spell. Out: a text."""

import random
import unicodedata
from collections.abc import Callable, Sequence

WHITE = " \t\n\r\x0b\x0c\u00a0\u2003\u2028\u3000\u200b\ufeff\x85\x1c\x1f"
WORDS = "don't I'LL we'Ve 's '' l'été can'\u017fs K İstanbul ß ẞ ﬁ 中文字 日本語 한국어 हिन्दी ไทย עברית عربي".split()
NUMBERS = "0 12 345 1234567 ٣٤ १२ ½ Ⅷ , . - x".split()
EMOJI = "👍🏿 👨‍👩‍👧 ❤️ 🇨🇳 🙂 7⃣".split()
CODE = "def f(x):\n    return {**x}\n\tif (a != b && c>>=2) { x->y(\"\\n\"); } // <a href='x'>&amp;"
ASSIGNED = [chr(code) for code in range(0x3000) if unicodedata.category(chr(code))[0] not in "C"]
RARE = [(0x80, 0x800), (0x800, 0xD800), (0xE000, 0x10000), (0x10000, 0x110000)]


def anything(draw: random.Random) -> str:
    low, high = draw.choice(RARE)
    return chr(draw.randrange(low, high))


def pieces(draw: random.Random, control: Sequence[str]) -> Sequence[Callable[[], str]]:
    spelled = lambda: draw.choice(control) if control else "<s>"  # noqa: E731
    return (
        lambda: draw.choice(WORDS),
        lambda: draw.choice(WHITE) * draw.choice((1, 1, 2, 3, 20)),
        lambda: draw.choice(NUMBERS),
        lambda: draw.choice(EMOJI),
        lambda: draw.choice(ASSIGNED),
        lambda: anything(draw),
        lambda: CODE[draw.randrange(40) :][: draw.randrange(1, 30)],
        lambda: draw.choice("aé中=-_#0😀") * draw.randrange(2, 60),
        lambda: "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randrange(3, 40))),
        lambda: chr(draw.randrange(128)),
        lambda: spelled()[:-1],
        lambda: spelled()[1:],
        lambda: spelled()[:1] + " " + spelled()[1:],
        lambda: spelled().upper(),
    )


def hard_text(draw: random.Random, control: Sequence[str] = (), *, spell: bool = False) -> str:
    """A few pieces one after the other; `spell` puts at least one whole control token among them."""
    kinds = pieces(draw, control)
    found = [draw.choice(kinds)() for _ in range(draw.randrange(1, 8))]
    if spell:
        for _ in range(draw.randrange(1, 3)):
            found.insert(draw.randrange(len(found) + 1), draw.choice(control))
    return draw.choice(("", "", " ")).join(found).replace("\0", "")
