"""What the learner reads."""

import pytest

from gateway.core.lag import notice_text, prompt_text
from gateway.core.lag.wording import WORDINGS, wording
from gateway.core.messages import LagNotice, LagPrompt

CAUSES = ("network", "uplink", "model")


@pytest.mark.parametrize("language", WORDINGS)
def test_every_language_says_everything(language):
    """Notice and all causes, with the seconds filled in, within what a message may hold."""
    tag = f"{language}-XX"
    LagNotice(epoch=1, n=0, expected_ms=1_300, text=notice_text(tag, 1_300.0))
    texts = [notice_text(tag, 4_240.0), *(prompt_text(tag, cause, 4_240.0) for cause in CAUSES)]
    assert all("4.2" in text or "4,2" in text for text in texts)
    assert not any("{" in text for text in texts)
    assert len(set(texts)) == 4
    for text in texts[1:]:
        LagPrompt(epoch=1, n=0, prompt_id="1", lag_ms=1, cause="model", text=text, expires_s=20.0)


def test_no_two_languages_say_the_same():
    """A text that was forgotten to be translated would be found here."""
    texts = [prompt_text(f"{language}-XX", "uplink", 3_000.0) for language in WORDINGS]
    assert len(set(texts)) == len(WORDINGS)


@pytest.mark.parametrize(
    ("tag", "language"), [("en-IN", "en"), ("pt-BR", "pt"), ("HI-in", "hi"), ("ja-JP", "en"), ("xx", "en")]
)
def test_the_language_of_a_tag(tag, language):
    """The country does not matter; of an unknown language it is English."""
    assert wording(tag) is WORDINGS[language]
