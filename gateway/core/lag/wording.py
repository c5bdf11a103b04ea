"""What the learner reads about the lag, in their language where it is one that Maya's voices speak, else in English.

The languages are those of Nova Sonic's voices (Bedrock user guide, `available-voices`): English, French, Italian, German,
Spanish, Portuguese, Hindi. A text says what is slow, whether the learner can do something about it, and what each choice
means; it names no technology.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.core.messages import LagCause

FALLBACK: Final = "en"


@dataclass(frozen=True, slots=True)
class Wording:
    """The texts of one language.

    Attributes:
        notice: told once, early; `{seconds}` is the lag to expect.
        causes: why the lag is large; `{seconds}` is how large it is.
        choice: what continue and skip mean.
        comma: written between seconds and tenths.
    """

    notice: str
    causes: Mapping[LagCause, str]
    choice: str
    comma: str = ","


WORDINGS: Final[Mapping[str, Wording]] = {
    "en": Wording(
        notice="Maya answers from North America. Expect a pause of about {seconds} s before she speaks.",
        causes={
            "network": "Your connection is slow: Maya's answers take about {seconds} s to reach you.",
            "uplink": "Your voice takes long to reach Maya: her answers come after about {seconds} s. "
            "A better signal may help.",
            "model": "Maya takes longer than usual to answer: about {seconds} s.",
        },
        choice="Continue, or skip this test? If you skip, the parts already assessed are kept, and you can take it again.",
        comma=".",
    ),
    "de": Wording(
        notice="Maya antwortet aus Nordamerika. Rechne mit einer Pause von etwa {seconds} s, bevor sie spricht.",
        causes={
            "network": "Deine Verbindung ist langsam: Mayas Antworten brauchen etwa {seconds} s bis zu dir.",
            "uplink": "Deine Stimme braucht lange bis zu Maya: Ihre Antworten kommen nach etwa {seconds} s. "
            "Ein besserer Empfang kann helfen.",
            "model": "Maya braucht länger als sonst für ihre Antworten: etwa {seconds} s.",
        },
        choice="Weitermachen oder den Test überspringen? Bereits bewertete Teile bleiben dann erhalten, "
        "und du kannst den Test noch einmal machen.",
    ),
    "es": Wording(
        notice="Maya responde desde Norteamérica. Habrá una pausa de unos {seconds} s antes de que hable.",
        causes={
            "network": "Tu conexión es lenta: las respuestas de Maya tardan unos {seconds} s en llegar.",
            "uplink": "Tu voz tarda en llegar a Maya: sus respuestas llegan después de unos {seconds} s. "
            "Una señal mejor puede ayudar.",
            "model": "Maya tarda más de lo normal en responder: unos {seconds} s.",
        },
        choice="¿Quieres continuar u omitir esta prueba? Si la omites, se conservan las partes ya evaluadas "
        "y podrás hacerla de nuevo.",
    ),
    "fr": Wording(
        notice="Maya répond depuis l'Amérique du Nord. Comptez une pause d'environ {seconds} s avant qu'elle parle.",
        causes={
            "network": "Votre connexion est lente : les réponses de Maya mettent environ {seconds} s à vous parvenir.",
            "uplink": "Votre voix met longtemps à parvenir à Maya : ses réponses arrivent après environ {seconds} s. "
            "Un meilleur signal peut aider.",
            "model": "Maya met plus de temps que d'habitude à répondre : environ {seconds} s.",
        },
        choice="Continuer, ou passer ce test ? Si vous le passez, les parties déjà évaluées sont gardées, "
        "et vous pourrez le refaire.",
    ),
    "it": Wording(
        notice="Maya risponde dal Nord America. Aspettati una pausa di circa {seconds} s prima che parli.",
        causes={
            "network": "La tua connessione è lenta: le risposte di Maya impiegano circa {seconds} s ad arrivare.",
            "uplink": "La tua voce impiega molto ad arrivare a Maya: le sue risposte arrivano dopo circa {seconds} s. "
            "Un segnale migliore può aiutare.",
            "model": "Maya impiega più del solito a rispondere: circa {seconds} s.",
        },
        choice="Vuoi continuare o saltare questo test? Se lo salti, le parti già valutate restano salvate "
        "e potrai rifarlo.",
    ),
    "pt": Wording(
        notice="Maya responde da América do Norte. Espere uma pausa de cerca de {seconds} s antes de ela falar.",
        causes={
            "network": "Sua conexão está lenta: as respostas de Maya levam cerca de {seconds} s para chegar.",
            "uplink": "Sua voz demora a chegar a Maya: as respostas dela vêm depois de cerca de {seconds} s. "
            "Um sinal melhor pode ajudar.",
            "model": "Maya está demorando mais que o normal para responder: cerca de {seconds} s.",
        },
        choice="Continuar ou pular este teste? Se pular, as partes já avaliadas são guardadas, "
        "e você poderá fazê-lo de novo.",
    ),
    "hi": Wording(
        notice="माया उत्तरी अमेरिका से जवाब देती है। उसके बोलने से पहले लगभग {seconds} सेकंड का विराम होगा।",
        causes={
            "network": "आपका कनेक्शन धीमा है: माया के जवाब आप तक पहुँचने में लगभग {seconds} सेकंड लगते हैं।",
            "uplink": "आपकी आवाज़ माया तक देर से पहुँचती है: उसके जवाब लगभग {seconds} सेकंड बाद आते हैं। "
            "बेहतर सिग्नल से मदद मिल सकती है।",
            "model": "माया को जवाब देने में सामान्य से अधिक समय लग रहा है: लगभग {seconds} सेकंड।",
        },
        choice="जारी रखें या यह टेस्ट छोड़ दें? छोड़ने पर जिन भागों का मूल्यांकन हो चुका है वे सुरक्षित रहेंगे, और आप इसे फिर से दे सकेंगे।",
        comma=".",
    ),
}


def wording(language: str) -> Wording:
    """Return the texts of a BCP 47 tag's language, English where it has none."""
    return WORDINGS.get(language.partition("-")[0].lower(), WORDINGS[FALLBACK])


def notice_text(language: str, expected_ms: float) -> str:
    """Say what lag to expect."""
    words = wording(language)
    return words.notice.format(seconds=_seconds(expected_ms, words))


def prompt_text(language: str, cause: LagCause, lag_ms: float) -> str:
    """Say how large the lag is, why, and what may be done."""
    words = wording(language)
    return f"{words.causes[cause].format(seconds=_seconds(lag_ms, words))} {words.choice}"


def _seconds(lag_ms: float, words: Wording) -> str:
    return f"{lag_ms / 1000:.1f}".replace(".", words.comma)
