"""Speech recognition: the Moonshine tiny English model from the moonshine-voice wheel, run by onnxruntime on one thread.

The wheel's own engine serialises streams and lags behind (SERVICE.md L3), so the model is called here
directly, once for each stretch of speech: about 0.015 s of one core for a second of speech.
"""

import importlib.util
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

RATE: Final = 16000
"""Sample rate in Hz that the model wants."""

_SHORTEST_SAMPLES: Final = RATE // 4
"""Shorter speech is padded with silence: the encoder's strides need it."""
_START: Final = 1
_END: Final = 2
_TOKENS_PER_S: Final = 6.5
"""The model's authors' limit on how much can be said in a second; it stops the decoder from running in circles."""
_WORD_START: Final = "\N{LOWER ONE EIGHTH BLOCK}"
_HEADS: Final = 8
_HEAD_SIZE: Final = 36


def model_folder() -> Path | None:
    """Return where the wheel keeps the model, or None where it is not installed or carries none."""
    spec = importlib.util.find_spec("moonshine_voice")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "assets" / "tiny-en"
    return folder if (folder / "encoder_model.ort").is_file() else None


class Recogniser:
    """Speech to text; may be used by several threads at once.

    Args:
        folder: what `model_folder` returned.
    """

    def __init__(self, folder: Path) -> None:
        import onnxruntime  # noqa: PLC0415 - takes 0.2 s and exists only where its wheel does

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        providers = ["CPUExecutionProvider"]
        self._encoder = onnxruntime.InferenceSession(str(folder / "encoder_model.ort"), options, providers=providers)
        self._decoder = onnxruntime.InferenceSession(
            str(folder / "decoder_model_merged.ort"), options, providers=providers
        )
        self._past_names = [i.name for i in self._decoder.get_inputs() if i.name.startswith("past_key_values")]
        self._tokens = _read_tokens((folder / "tokenizer.bin").read_bytes())

    def transcribe(self, signal: npt.NDArray[np.float32]) -> str:
        """Return the words in `signal`, 16 kHz between -1 and 1; best in stretches of up to 30 s."""
        if signal.size < _SHORTEST_SAMPLES:
            signal = np.pad(signal, (0, _SHORTEST_SAMPLES - signal.size))
        values = signal[None].astype(np.float32)
        # One mask for both: the decoder, too, strides through a mask of samples, not of encoder frames.
        mask = np.ones(values.shape, np.int64)
        hidden = self._encoder.run(None, {"input_values": values, "attention_mask": mask})[0]
        limit = int(signal.size / RATE * _TOKENS_PER_S) + 2
        pieces = b"".join(self._tokens[token] for token in self._decode(mask, hidden, limit))
        return pieces.decode("utf-8", errors="replace").replace(_WORD_START, " ").strip()

    def _decode(self, mask: npt.NDArray[np.int64], hidden: npt.NDArray[np.float32], limit: int) -> list[int]:
        feed: dict[str, Any] = {"encoder_attention_mask": mask, "encoder_hidden_states": hidden}
        feed |= {name: np.zeros((1, _HEADS, 0, _HEAD_SIZE), np.float32) for name in self._past_names}
        said: list[int] = []
        token = _START
        for step in range(limit):
            feed["input_ids"] = np.array([[token]], np.int64)
            feed["use_cache_branch"] = np.array([step > 0])
            logits, *present = self._decoder.run(None, feed)
            token = int(logits[0, -1].argmax())
            if token == _END:
                break
            said.append(token)
            for name, value in zip(self._past_names, present, strict=True):
                # The encoder's keys and values are made in the first step only and stay.
                if step == 0 or ".decoder." in name:
                    feed[name] = value
        return said


def _read_tokens(data: bytes) -> list[bytes]:
    """Return the vocabulary: entries prefixed by their length, in one byte or, from 128 on, two."""
    tokens = []
    at = 0
    while at < len(data):
        length = data[at]
        at += 1
        if length >= 128:
            length += 128 * (data[at] - 1)
            at += 1
        tokens.append(data[at : at + length])
        at += length
    return tokens
