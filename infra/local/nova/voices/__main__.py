"""Make speech files and read them.

python -m infra.local.nova.voices say --text "Good day." --out day.wav [--rate 16000] [--voice plain|human]
python -m infra.local.nova.voices hear day.wav [--voice plain|human]
"""

import argparse
import asyncio
import sys
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from infra.local.nova.interfaces import SpeechEnd
from infra.local.nova.voices import PLAIN_RATES, make_ears, make_voice, warm_up

_SILENCE_S: Final = 2


def write_wave(path: Path, pcm: bytes, rate: int) -> None:
    """Write 16-bit mono PCM as a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm)


def read_wave(path: Path) -> tuple[bytes, int]:
    """Return the PCM of a WAV file and its rate in Hz.

    Raises:
        ValueError: it is not 16-bit mono at 8000, 16000 or 24000 Hz.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            if (channels, width) != (1, 2) or rate not in PLAIN_RATES:
                raise ValueError(
                    f"{path} has {channels} channels of {8 * width} bits at {rate} Hz; "
                    "wanted is 1 channel of 16 bits at 8000, 16000 or 24000 Hz"
                )
            return file.readframes(file.getnframes()), rate
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path} is not a PCM WAV file: {error}") from None


async def say(arguments: argparse.Namespace) -> None:
    """Write the text as a speech file."""
    pcm = await make_voice(arguments.voice).speak(arguments.text, arguments.rate, "amy")
    write_wave(arguments.out, pcm, arguments.rate)


async def hear(arguments: argparse.Namespace) -> None:
    """Print what the ears understand, a line for each turn."""
    pcm, rate = read_wave(arguments.file)
    await warm_up(arguments.voice)
    ears = make_ears(arguments.voice, rate=rate, endpointing="LOW")
    for event in ears.feed(pcm + bytes(2 * rate * _SILENCE_S + rate), 0.0):
        if isinstance(event, SpeechEnd):
            sys.stdout.write(await ears.transcribe(event.text_request) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.nova.voices", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    saying = commands.add_parser("say", help="write text as a speech file")
    saying.add_argument("--text", required=True)
    saying.add_argument("--out", required=True, type=Path)
    saying.add_argument("--rate", type=int, choices=PLAIN_RATES, default=16000)
    saying.set_defaults(run=say)
    hearing = commands.add_parser("hear", help="print what is said in a speech file")
    hearing.add_argument("file", type=Path)
    hearing.set_defaults(run=hear)
    for command in (saying, hearing):
        command.add_argument("--voice", choices=("plain", "human"), default="plain")
    arguments = parser.parse_args(argv)
    try:
        asyncio.run(arguments.run(arguments))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
