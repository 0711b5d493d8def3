"""What Xu et al. (2025) report of explanations, as printed in their Tables 2 and 4."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.vlm.explained_neurons import RANDOM, TOP

SOURCE = "Xu et al., 2025, Tables 2 and 4"
LLAVA, INTERNVL = "LLaVA-1.5-7B", "InternVL-2.5-8B"
# mean scores of 800 neurons a type; one cell of Table 4 is cut off in the copy at hand
SCORES = {
    (LLAVA, "visual"): (0.160, 0.140), (LLAVA, "text"): (0.240, 0.149),
    (LLAVA, "multi-modal"): (0.235, 0.175), (INTERNVL, "visual"): (0.148, 0.132),
    (INTERNVL, "text"): (0.194, 0.104), (INTERNVL, "multi-modal"): (0.185, float("nan")),
}


def published_rows() -> pd.DataFrame:
    """A row for each model, type and source of explanations: ``model, kind, explained, own``."""
    return pd.DataFrame([
        {"model": model, "kind": kind, "explained": explained, "own": value}
        for (model, kind), values in SCORES.items()
        for explained, value in zip((TOP, RANDOM), values, strict=True)])
