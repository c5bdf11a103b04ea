"""An estimate of conversational quality from delay and lateness: the E-model of ITU-T G.107 (06/2015), simplified.

``R = 93.2 - Id - Ie_eff``. The delay term is the fit of Cole and Rosenbluth (ACM CCR 31/2, 2001) to G.107's curve:
``Id = 0.024 d + 0.11 (d - 177.3)`` for one-way delays above 177.3 ms, without the second term below. Pieces that came too late
count as lost packets: ``Ie_eff = 95 P / (P + Bpl)`` with ``Bpl`` = 4.3, G.711 without concealment (ITU-T G.113, Appendix I), for the
simulated speaker conceals nothing. MOS by G.107, Annex B.

It says what distance and lateness do to a conversation, on the scale of narrow-band telephony. It knows nothing of how
Maya's voice sounds, nor of her time to think, and is no substitute for listeners.
"""

from typing import Final

SOURCE: Final = "E-model estimate, ITU-T G.107 (06/2015), delay term by Cole and Rosenbluth (2001)"
_BEST_R: Final = 93.2
_KNEE_MS: Final = 177.3
_ROBUSTNESS: Final = 4.3
"""Percentage of loss that costs half of what loss can cost."""
_MOST_LOSS_COSTS: Final = 95.0


def rating(one_way_ms: float, late_share: float) -> float:
    """The transmission rating R, 0 to 93.2.

    Args:
        one_way_ms: from mouth to ear: network and buffers.
        late_share: share of pieces that missed their moment, 0 to 1.
    """
    delay_costs = 0.024 * one_way_ms + 0.11 * max(0.0, one_way_ms - _KNEE_MS)
    lost_percent = 100 * late_share
    loss_costs = _MOST_LOSS_COSTS * lost_percent / (lost_percent + _ROBUSTNESS)
    return max(0.0, _BEST_R - delay_costs - loss_costs)


def mos(one_way_ms: float, late_share: float) -> float:
    """The mean opinion score that R stands for, 1 to 4.5."""
    r = rating(one_way_ms, late_share)
    return max(1.0, 1 + 0.035 * r + 7e-6 * r * (r - 60) * (100 - r))
