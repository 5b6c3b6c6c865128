"""Words are found however they are written, and nothing is found in words that merely hold them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.wording import MAX_PATTERN, PatternError, Text, Words, can_be_found, check_pattern, matches

WORDS = Words(["child", "naked", "red fox", "porn*", "niña", "ребёнок", "裸体", "ロリコン", "boobs"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a child", "child"),
        ("A CHILD!", "child"),
        ("c h i l d", "child"),
        ("c.h.i.l.d", "child"),
        ("c-h-i-l-d here", "child"),
        ("the c_h_i_l_d", "child"),
        ("ch.ild", "child"),
        ("ch\u200bild", "child"),
        ("ch\u00adild", "child"),
        ("c\u0301h\u0302i\u0303ld", "child"),
        ("chïld", "child"),
        ("chiiiild", "child"),
        ("ch1ld", "child"),
        ("ch!ld", "child"),
        ("chiId", "child"),
        ("сhild", "child"),  # Cyrillic с
        ("ϲһіӏԁ", "child"),  # none of it Latin
        ("ｃｈｉｌｄ", "child"),
        ("𝓬𝓱𝓲𝓵𝓭", "child"),
        ("n@ked", "naked"),
        ("n4k3d", "naked"),
        ("nakeddddd", "naked"),
        ("b00bs", "boobs"),
        ("booooobs", "boobs"),
        ("a red, fox", "red fox"),
        ("a red\nfox", "red fox"),
        ("pornographic", "porn*"),
        ("p0rn", "porn*"),
        ("una NINA", "niña"),
        ("Ребенок", "ребёнок"),
        ("一张裸体照片", "裸体"),
        ("裸 体", "裸体"),
        ("これはロリコンです", "ロリコン"),
    ],
)
def test_what_is_found(text: str, found: str) -> None:
    assert Text(text).find(WORDS) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "children of the corn",
        "fairchild",
        "a redfox",
        "red foxes",
        "the nakedness of things",
        "popcorn and acorns",
        "100 soldiers and 3 boats",
        "an unporn-like thing",
        "I a m b c",
        "裸足の人",
        "!!! ??? ...",
    ],
)
def test_what_is_not(text: str) -> None:
    assert Text(text).find(WORDS) is None


def test_harmless_phrases_are_taken_out_before_looking() -> None:
    harmless = Words(["naked mole rat*"])
    assert Text("two naked mole rats").without(harmless).find(WORDS) is None
    assert Text("a naked man and a naked mole rat").without(harmless).find(WORDS) == "naked"


def test_what_has_no_letters_can_not_be_looked_for() -> None:
    assert can_be_found("fox")
    assert can_be_found("裸")
    assert not can_be_found("*")
    assert not can_be_found(" …\u200b!")


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        (r"\bcat\b", "A Cat", True),
        (r"\bcat\b", "concatenate", False),
        (r"by\s+greg\s+\w+ski", "painted by Greg  Rutkowski", True),
        (r"blo+d", "b\u200blood", True),
        (r"^.{10,}$", "short", False),
    ],
)
def test_patterns(pattern: str, text: str, fits: bool) -> None:
    check_pattern(pattern)
    assert matches(pattern, Text(text)) is fits


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "a{1000}{1000}",
        r"(a)\1",
        "(?=a)b",
        "x" * (MAX_PATTERN + 1),
        "",
        "a*",
        ".*",
        "((a{500}){2}b{500}){2}|\\pL{900}",
    ],
)
def test_patterns_that_are_wrong_or_too_much(pattern: str) -> None:
    with pytest.raises(PatternError):
        check_pattern(pattern)


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|aa)+$", r"(.*a){20}$", r"(x+x+)+y"])
def test_a_pattern_that_would_run_away_elsewhere_does_not_here(pattern: str) -> None:
    check_pattern(pattern)
    text = Text(("a" * 999 + "x" * 1000) + "!")
    assert not matches(pattern, text)


@given(st.text(max_size=200))
def test_any_text_can_be_searched(text: str) -> None:
    Text(text).find(WORDS)
    Text(text).without(WORDS)
    matches("a+b", Text(text))


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyzäéñбж", min_size=3, max_size=20))
def test_every_word_is_found_as_it_is_and_in_capitals(word: str) -> None:
    assert Text(f"one {word} two").find(Words([word])) == word
    assert Text(f"one {word.upper()} two").find(Words([word])) == word
