"""Both directions in which coordinates and text can be taken for each other."""

from __future__ import annotations

from functools import partial

from ..contract.declare import mean
from ..contract.family import Family
from ..contract.functions import greatest, least
from ..contract.law import at_most
from ..contract.units import COORD_TOKEN, DESC_TOKEN, FORMAT_TOKEN, PROBABILITY, TEXT_TOKEN
from .conditions import MONITOR_MASS, MONITOR_MASS_BY_TYPE, TOKEN_TYPES
from .vocabulary import ALL_STAGES, reference

flip = partial(mean, better="lower")
mass = partial(mean, unit=PROBABILITY)


class CoordMonitor(Family, pattern="coord_monitor/{name}", emitted_by=ALL_STAGES):
    """Coordinate slots that collapse into text, and coordinates that intrude into text.

    Flips look at the likeliest token, masses at the probability of the coordinate vocabulary; the
    masses may be capped to a number of tokens (``coord_monitor_mass_max_tokens``).
    """

    flip_coord_to_noncoord = flip(
        "share of coordinate slots whose likeliest token is no coordinate",
        per=COORD_TOKEN,
        source=reference(498),
    )
    flip_text_to_coord = flip(
        "share of other slots whose likeliest token is a coordinate",
        per=TEXT_TOKEN,
        source=reference(501),
    )
    flip_format_to_coord = flip(
        "share of structure slots whose likeliest token is a coordinate",
        per=FORMAT_TOKEN,
        when=TOKEN_TYPES,
        source=reference(504),
    )
    flip_desc_to_coord = flip(
        "share of description slots whose likeliest token is a coordinate",
        per=DESC_TOKEN,
        when=TOKEN_TYPES,
        source=reference(507),
    )

    coord_vocab_mass_at_gt_coord = mass(
        "coordinate mass at coordinate slots; low where they bleed into text",
        per=COORD_TOKEN,
        better="higher",
        when=MONITOR_MASS,
        source=reference(514),
    )
    coord_vocab_mass_at_gt_text = mass(
        "coordinate mass at all other slots; high where coordinates intrude",
        per=TEXT_TOKEN,
        better="lower",
        when=MONITOR_MASS,
        source=reference(515),
    )
    coord_vocab_mass_at_gt_format = mass(
        "coordinate mass at structure; high where coordinates intrude",
        per=FORMAT_TOKEN,
        better="lower",
        when=MONITOR_MASS_BY_TYPE,
        source=reference(516),
    )
    coord_vocab_mass_at_gt_desc = mass(
        "coordinate mass inside descriptions; high where coordinates intrude",
        per=DESC_TOKEN,
        better="lower",
        when=MONITOR_MASS_BY_TYPE,
        source=reference(517),
    )

    text_is_at_least_a_part = at_most(
        "text is structure and descriptions, so its rate is no less than both",
        least(flip_format_to_coord, flip_desc_to_coord),
        flip_text_to_coord,
    )
    text_is_at_most_a_part = at_most(
        "text is structure and descriptions, so its rate is no more than both",
        flip_text_to_coord,
        greatest(flip_format_to_coord, flip_desc_to_coord),
    )
