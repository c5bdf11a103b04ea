"""What the learners of a run say."""

from pathlib import Path

from client_sim.load.plain_speech import plain_utterances
from client_sim.load.settings import LoadSettings
from client_sim.speech import Utterance, read_wav, utterances


def utterances_of(settings: LoadSettings) -> list[Utterance]:
    """Of a recording where one is given, else generated.

    Raises:
        client_sim.speech.SpeechFileError: the recording cannot be used.
    """
    if settings.speech is None:
        return plain_utterances(settings.rate)
    return utterances(read_wav(Path(settings.speech), settings.rate), settings.rate)
