"""The estimate of how many tokens a prompt has."""

import pytest

from config.reading import estimated_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("  \n", 0),
        ("a red circle", 3),
        ("a red circle, please!", 6),
        ("photorealistic", 3),
        ("狐と月", 3),
        ("Füchse", 2),
        ("лисица", 2),
        ("a_b", 3),
        ("🦊", 1),
    ],
)
def test_estimates(text: str, tokens: int) -> None:
    assert estimated_tokens(text) == tokens


def test_a_usual_english_prompt_has_a_third_more_tokens_than_words_at_most() -> None:
    prompt = (
        "An intricate oil painting of a lighthouse at dusk above a wild sea, thick strokes, dramatic clouds lit from "
        "below, seagulls circling, a lone fisherman in a yellow raincoat walking along the breakwater"
    )
    words = len(prompt.split())
    assert words <= estimated_tokens(prompt) <= words * 1.5
