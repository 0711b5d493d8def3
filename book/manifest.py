"""``codecheck.yml``: what a run must reproduce, for who checks the study independently."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from book import chapters
from book.claims_pages import CLAIMS_NAME, CSV_NAME

ROOT = Path(__file__).resolve().parents[1]
HEAD = """---
# CODECHECK's manifest. `make book ALL=1` computes every output again, and `make test ALL=1`
# compares each printed digit and figure with the stored one. The built book lists every table and
# figure with its hash in html/manifest.yml. Written by: python -m book.manifest
"""


def manifest() -> str:
    """The file: the paper's title, the authors as the citation file names them, an output for
    every chapter, and the verdicts."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    outputs = [{"file": f"notebooks/{name}.ipynb",
                "comment": chapters.title(chapters.written(page))}
               for name, page in chapters.read(ROOT).items()]
    outputs.append({"file": f"_build/digits/html/_static/{CSV_NAME}",
                    "comment": "Every comparison behind the verdicts, as make book writes it"})
    content = {"version": "https://codecheck.org.uk/spec/config/1.0/",
               "paper": {"title": citation["title"],
                         "authors": [{"name": name_of(author)} for author in citation["authors"]]},
               "manifest": outputs}
    return HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def name_of(author: dict[str, str]) -> str:
    return author.get("name") or f"{author['given-names']} {author['family-names']}"


def write_built(html: Path) -> None:
    """List the tables and figures of a built book with their hashes, beside its pages."""
    files = [*html.glob("notebooks/*/*.csv"), *html.glob(f"_static/{CSV_NAME}"),
             *html.glob(f"_static/{CLAIMS_NAME}"), *html.glob("_images/*")]
    lines = [{"file": path.relative_to(html).as_posix(),
              "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in sorted(files)]
    text = yaml.safe_dump({"manifest": lines}, sort_keys=False)
    (html / "manifest.yml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    (ROOT / "codecheck.yml").write_text(manifest(), encoding="utf-8")
