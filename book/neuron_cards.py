"""Cards of the neurons that the paths of the embedded models use most.

    python -m book.neuron_cards [--profile digits] [--model tiny-B-16]

measures them, as far as the results folder does not have them yet, and writes a file for each model
into ``data/cards/<profile>/``.  A build turns these files into pages, ``_cards/`` beside its own,
so that it computes nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from neuronpath_core.explanations.card import Card  # noqa: E402
from neuronpath_core.explanations.card_index import (  # noqa: E402
    most_used_cards,
    read_cards,
    write_cards,
    write_site,
)
from neuronpath_core.study.study import Study  # noqa: E402

DATA = ROOT / "data" / "cards"
PROFILES = ("digits", "shapes", "places")
FOLDER = "_cards"  # of the built book; no page of it, so that nothing is done to it after Sphinx
# every card leads back to these
BOOK = {"Paths of a class (chapter 4)": "../notebooks/04_class_paths.html",
        "Neuron Paths, front page": "../book/index.html"}


def measure(profile: str, models: list[str]) -> None:
    """Write the files of a profile's models."""
    study = Study(profile)
    for model in study.check_models(models or study.model_names):
        file = DATA / profile / f"{model}.json"
        write_cards(most_used_cards(study, model), file)
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size} bytes", flush=True)


def stored() -> dict[str, dict[str, list[Card]]]:
    """Profile -> model -> its cards, as they are kept, models in the order of the profile."""
    found = {}
    for profile in PROFILES:
        names = Study(profile).model_names
        files = {name: DATA / profile / f"{name}.json" for name in names}
        found[profile] = {name: read_cards(file) for name, file in files.items()
                          if file.is_file()}
    return found


def write_pages(html: Path) -> None:
    """Write the pages of all stored cards into a built book."""
    write_site(stored(), html / FOLDER, BOOK)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=PROFILES, action="append")
    parser.add_argument("--model", action="append", default=[])
    arguments = parser.parse_args()
    for profile in arguments.profile or PROFILES:
        try:
            measure(profile, arguments.model)
        except ValueError as error:
            sys.exit(f"cards: {error}")


if __name__ == "__main__":
    main()
