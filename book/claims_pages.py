"""The claims of all chapters, as the pages of findings show them.

Every chapter ends with a cell that emits its claims (:mod:`neuronpath_core.stats.claims`).  From
the notebooks that a book is built from, :func:`write` takes them all, fills in

* ``% claims: rows``, ``% claims: cards``, ``% claims: table``, ``% claims: rules`` and ``% claims:
  corrected``: the rows of page one, the cards of ``cards.yml``, the table of every claim, how the
  words are chosen, and which claims are corrected for the number of tests;
* ``{claim}`11:removal agree` ``: a number in a sentence, by chapter, claim and one of ``FIELDS``;

writes ``_static/verdicts.csv``, every comparison, and ``_static/claims.csv``, and returns what each
page shows.  A page that names a claim that no notebook emits stops the build, as does a card.

    python -m book.claims_pages

prints every claim of the stored notebooks with its grade.
"""

from __future__ import annotations

import ast
import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from docutils.nodes import make_id
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from nbformat import NotebookNode

from book import chapters, strips
from book.paper_numbers import said_by_paper
from neuronpath_core.stats.claims import BY, FINDINGS, MIME, Claim, Comparison, from_json
from neuronpath_core.stats.grades import (
    FEW,
    MANY,
    MOST,
    Grade,
    counted,
    effect,
    grade,
    leaning,
    short,
)
from neuronpath_core.stats.rules import Rule
from neuronpath_core.stats.units import UNITS, Unit
from neuronpath_core.support.yaml_file import read_yaml

MARKER = re.compile(r"^% claims: (\w+)[ \t]*$", re.MULTILINE)
NUMBER = re.compile(r"\{claim\}`([^`]+)`")
CSV_NAME, CLAIMS_NAME = "verdicts.csv", "claims.csv"


class Refused(ValueError):
    """A page or a card names what no notebook has."""


@dataclass(frozen=True)
class Evidence:
    """Comparisons of one or several claims of one unit, graded together.

    Args:
        claims: of which the first gives its sentence, control and rule.
        places: the address and the title of each claim's section, from a page in ``book/``.
        names: of each claim its chapter and key, ``11:removal``, and a place if it is of one alone,
            ``11:removal @ at all tokens``.
    """

    claims: tuple[Claim, ...]
    places: tuple[tuple[str, str], ...]
    names: tuple[str, ...]

    @property
    def claim(self) -> Claim:
        return self.claims[0]

    @property
    def rows(self) -> tuple[Comparison, ...]:
        return tuple(row for claim in self.claims for row in claim.comparisons)

    @property
    def unit(self) -> Unit:
        return UNITS[self.claim.unit]

    @property
    def grade(self) -> Grade:
        return grade(self.rows, self.unit)

    @property
    def effect(self) -> str:
        return effect(self.rows, self.unit)

    @property
    def short(self) -> str:
        return short(self.rows, self.unit)

    @property
    def lines(self) -> list[strips.Line]:
        return strips.lines(self.rows, self.unit)

    @property
    def measured_in(self) -> str:
        return strips.heading(self.rows, self.unit)

    @property
    def told(self) -> str:
        """The tally and, where nothing was decided, how many effects lean the claim's way."""
        leans = [leaning(claim) for claim in self.claims]
        if self.grade.word != "Undecided" or None in leans:
            return self.grade.tally
        return f"{self.grade.tally}; {sum(leans)} of {self.grade.of} lean its way"

    @property
    def power(self) -> str:
        """The effect that it would have taken, at the median over the comparisons that show
        neither side: their own effects moved until their intervals leave what the rule asks
        about.  Empty where all is decided, and where a rule names no side."""
        needed = [needs(claim.rule, row) for claim in self.claims for row in claim.comparisons
                  if row.verdict not in ("agrees", "contradicts") and row.low is not None]
        if not needed or None in needed:
            return ""
        size = self.unit.number(median(needed))
        named = self.unit.words.endswith(" ")  # a quantity without a unit
        words = f"{size} ({self.unit.words.strip()})" if named else self.unit.text(median(needed))
        # where what may be lost is a margin, that it must be gained is no slip
        is_gain = median(needed) > 0 and all((claim.rule.above or 0) < 0 for claim in self.claims)
        return f"it would be shown beyond about {words}" + is_gain * (
            ", a gain: the whole interval must lie above what may be lost")

    @property
    def counted(self) -> str:
        return counted(self.rows, self.claim.of, self.claim.statistic)

    @property
    def data(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.data for row in self.rows))

    @property
    def _words(self) -> dict[str, str]:
        return {name: grade([row for row in self.rows if row.data == name], self.unit).word
                for name in self.data}

    @property
    def held(self) -> str:
        """On how many data sets it holds: ``Yes on 1 of 2 data sets``."""
        words = list(self._words.values())
        return (f"Yes on {words.count('Yes')} of {len(words)} data "
                f"set{'' if len(words) == 1 else 's'}")

    @property
    def over_data(self) -> str:
        """:attr:`held` and which: ``Yes on 1 of 2 data sets: digits No, shapes Yes``."""
        words = self._words
        names = [name if len(set(words.values())) == 1 else f"{name} {word}"
                 for name, word in words.items()]
        return f"{self.held}: {', '.join(names)}"

    def said(self, *of: Callable[[list[float]], float]) -> str:
        """One or two of the effects in a sentence, where a plus sign would be in the way."""
        values = [each([row.value for row in self.rows]) for each in of]
        text = self.unit.text(*values) if len(values) == 1 else self.unit.span(*values)
        return text.replace("+", "")

    def bare(self, *of: Callable[[list[float]], float]) -> str:
        """The same as numbers alone, where the sentence has the unit."""
        values = [each([row.value for row in self.rows]) for each in of]
        return " to ".join(map(self.unit.number, dict.fromkeys(values))).replace("+", "")

    @property
    def undecided(self) -> int:
        """How many comparisons neither agree nor contradict."""
        return self.grade.of - self.grade.agree - self.grade.contradict

    @property
    def signed(self) -> str:
        """From where to where effects go, with the signs that tell more from less."""
        values = [row.value for row in self.rows]
        return self.unit.span(min(values), max(values))

    @property
    def reversed(self) -> str:
        """:attr:`signed` of what is compared with, against what is claimed of."""
        values = [-row.value for row in self.rows]
        return self.unit.span(min(values), max(values))

    @property
    def interval(self) -> str:
        """The effect with its interval where there is one comparison, else from where to where
        effects go."""
        return self.unit.interval(self.rows[0]) if len(self.rows) == 1 else self.signed

    @property
    def reach(self) -> str:
        """How far intervals go down from their effects, at the median: what a lead must exceed to
        be shown."""
        below = [row.value - row.low for row in self.rows if row.low is not None]
        if not below:
            raise Refused(f"claim {self.claim.key!r} has no intervals; accepted: one that has")
        return self.unit.text(median(below)).replace("+", "")

    @property
    def condition(self) -> str:
        """Under which all of it was measured, if it was asked for by its condition."""
        asked = {", ".join(name.split(" @ ")[1:]) for name in self.names}
        return asked.pop() if len(asked) == 1 else ""

    @property
    def control(self) -> str:
        return "; ".join(dict.fromkeys(claim.control for claim in self.claims))

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """Address and title of each section, once."""
        return tuple(dict.fromkeys(self.places))

    def under(self, place: str) -> Evidence:
        """The comparisons under one condition alone, on one data set (``on digits``), of one model
        (``of tiny-B-32``) or with one thing that it is compared with (``against fill``)."""
        kept = [replace(claim, comparisons=rows) for claim in self.claims if (
            rows := tuple(row for row in claim.comparisons if place in _places(row)))]
        if not kept:
            places = dict.fromkeys(each for row in self.rows for each in _places(row))
            raise Refused(f"claim {self.claim.key!r} has no condition {place!r}; accepted: "
                          f"{', '.join(map(repr, places))}")
        return Evidence(tuple(kept), self.places,
                        tuple(f"{name} @ {place}" for name in self.names))

    def __add__(self, other: Evidence) -> Evidence:
        kinds = [(claim.unit, claim.of, claim.statistic) for claim in (self.claim, other.claim)]
        if kinds[0] != kinds[1]:
            raise Refused(f"claims {self.claim.key!r} and {other.claim.key!r} are in "
                          f"{' and '.join(' '.join(kind).strip() for kind in kinds)}; accepted: "
                          f"claims of one unit and statistic")
        return Evidence(self.claims + other.claims, self.places + other.places,
                        self.names + other.names)


def _places(row: Comparison) -> tuple[str, ...]:
    """What a page can ask a comparison for by."""
    found = (row.condition, f"on {row.data}", f"of {row.model}",
             row.against and f"against {row.against}")
    return tuple(filter(None, found))


def needs(rule: Rule, row: Comparison) -> float | None:
    """The effect at which an interval as wide as a comparison's would lie on the rule's side;
    ``None`` where the rule has none."""
    if rule.above is not None:
        return rule.above + row.value - row.low
    return None if rule.below is None else rule.below - (row.high - row.value)


# what a sentence can say of a claim
FIELDS: dict[str, Callable[[Evidence], str]] = {
    "grade": lambda found: str(found.grade),
    "tally": lambda found: found.grade.tally,
    "agree": lambda found: f"{found.grade.agree} of {found.grade.of}",
    "contradict": lambda found: f"{found.grade.contradict} of {found.grade.of}",
    "undecided": lambda found: f"{found.undecided} of {found.grade.of}",
    "for": lambda found: str(found.grade.agree),
    "against": lambda found: str(found.grade.contradict),
    "median": lambda found: found.said(median),
    "behind": lambda found: found.said(lambda values: -median(values)),
    "smallest": lambda found: found.said(min),
    "largest": lambda found: found.said(max),
    "span": lambda found: found.said(min, max),
    "number": lambda found: found.bare(median),
    "range": lambda found: found.bare(min, max),
    "signed": lambda found: found.signed,
    "reversed": lambda found: found.reversed,
    "interval": lambda found: found.interval,
    "reach": lambda found: found.reach,
    "tests": lambda found: str(len(found.rows)),
    "n": lambda found: found.counted,
}


def _assigned(source: str) -> Iterator[str]:
    """The variables that a cell sets, columns of theirs included."""
    for node in ast.walk(ast.parse(source)):
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in targets:
            for part in ast.walk(target):
                if isinstance(part, ast.Name):
                    yield part.id


def _sections(nb: NotebookNode) -> dict[str, tuple[str, str]]:
    """Per variable the anchor and the heading under which it was last set."""
    found, here = {}, ("", "")
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            for heading in chapters.HEADING.findall(cell.source):
                here = (make_id(heading), heading)
        elif cell.cell_type == "code" and "remove-cell" not in cell.metadata.get("tags", []):
            found |= dict.fromkeys(_assigned(cell.source), here)
    return found


def collect(notebooks: Mapping[str, NotebookNode]) -> dict[str, Evidence]:
    """The claims of all notebooks by chapter and key (``"11:removal"``), in the order of the
    notebooks.

    Raises:
        Refused: two outputs of claims in a notebook.
    """
    claims = {}
    for stem, nb in notebooks.items():
        outputs = [output.data[MIME] for cell in nb.cells if cell.cell_type == "code"
                   for output in cell.outputs if MIME in output.get("data", {})]
        if len(outputs) > 1:
            raise Refused(f"{stem}.ipynb emits claims {len(outputs)} times; accepted: once")
        sections = _sections(nb) if outputs else {}
        for claim in from_json(outputs[0]) if outputs else ():
            text = chapters.written(nb)
            anchor, heading = sections.get(claim.table, ("", chapters.title(text)))
            if heading == chapters.title(text):
                heading = chapters.short_title(text)
            chapter = stem.partition("_")[0]
            place = (f"../notebooks/{stem}.html" + (f"#{anchor}" if anchor else ""),
                     f"Chapter {int(chapter)}: {heading}")
            name = f"{chapter}:{claim.key}"
            claims[name] = Evidence((claim,), (place,), (name,))
    return claims


def _named(claims: dict[str, Evidence], names: Sequence[str], where: str) -> Evidence:
    """The evidence of several claims together, each by its name or, of one condition, data set or
    model alone, as ``name @ condition``, or ``name @ condition @ on digits``."""
    found = None
    for each in names:
        name, *places = each.split(" @ ")
        if name not in claims:
            raise Refused(f"{where} names the claim {name!r}, which no notebook emits; accepted: "
                          f"{', '.join(claims) or 'none, for no notebook emits any'}")
        own = claims[name]
        for place in places:
            own = own.under(place)
        found = own if found is None else found + own
    if found is None:
        raise Refused(f"{where} names no claim; accepted: at least one")
    return found


@dataclass(frozen=True)
class Shown:
    """What a page shows of claims in one place.

    Args:
        value: as the page writes it.
        name: of what it is made from, as a page would ask for it.
        found: the evidence itself.
        heading: that it stands under.
    """

    value: str
    name: str
    found: Evidence
    heading: str = ""


def in_sentences(text: str, claims: dict[str, Evidence], where: str) -> tuple[str, list[Shown]]:
    """The text with every ``{claim}`` replaced by what it names, and what was put in."""
    shown = []

    def said(match: re.Match) -> str:
        names, _, field = match[1].rpartition(" ")
        if field not in FIELDS:
            raise Refused(f"{where}: {match[0]} asks for {field!r}; accepted: {', '.join(FIELDS)}")
        found = _named(claims, names.split(" + "), where)
        shown.append(Shown(FIELDS[field](found), match[1], found,
                           chapters.heading_above(text, match.start())))
        return shown[-1].value

    return NUMBER.sub(said, text), shown


@dataclass(frozen=True)
class Card:
    """A claim of page one and of the findings, its evidence, and what stands beside it.

    Args:
        key, title: of the card.
        plain: what it says in a sentence or two.
        numbers: that stand in what it says.
        found: the evidence.
        beside: other evidence, each graded for itself.
        caveat: what a grade cannot say, in a few words; empty for none.
        replaced: what is left of it where removed neurons are set to other values than zero.
        others: numbers that stand in that line.
        paper: what the paper has for it, in the unit of the effect.
        more: what else is to be known of it, in sentences.
    """

    key: str
    title: str
    plain: str
    numbers: tuple[Shown, ...]
    found: Evidence
    beside: tuple[Evidence, ...]
    caveat: str = ""
    replaced: str = ""
    others: tuple[Shown, ...] = ()
    paper: str = ""
    more: str = ""

    @property
    def related(self) -> str:
        """What the claims beside it came to: ``3 No, 1 Yes``."""
        words = Counter(found.grade.word for found in self.beside)
        return ", ".join(f"{count} {word}" for word, count in words.most_common())

    @property
    def by(self) -> str:
        """Who makes the claim, in words."""
        return BY[self.found.claim.by]

    @property
    def finding(self) -> str:
        """Which of the paper's findings it is about, ``Finding 2``; empty where it is none."""
        words, colon, _ = FINDINGS[self.found.claim.finding].partition(":")
        return words if colon else ""


def cards(path: Path, claims: dict[str, Evidence]) -> list[Card]:
    """The cards of ``cards.yml``, with their evidence."""
    made = []
    for entry in read_yaml(path):
        where = f"card {entry['key']}"
        if not entry.get("replaced"):
            raise Refused(f"{where} has no line 'replaced'; accepted: what is left of the claim "
                          f"where removed neurons are set to other values, or that it was not "
                          f"measured")
        plain, numbers = in_sentences(entry["plain"], claims, where)
        more, further = in_sentences(entry.get("more", ""), claims, where)
        replaced, others = in_sentences(entry["replaced"], claims, where)
        if "paper" not in entry:
            raise Refused(f"{where} has no line 'paper'; accepted: a metric of Table 1, a "
                          f"figure of the paper, or {{}} for what the paper does not ask")
        found = _named(claims, entry["claims"], where)
        made.append(Card(entry["key"], entry["title"], plain, (*numbers, *further), found,
                         tuple(_named(claims, [name], where) for name in entry.get("beside", ())),
                         entry.get("caveat", ""), replaced, tuple(others),
                         said_by_paper(entry["paper"], found.unit), more))
    return made


def write_csv(claims: dict[str, Evidence], folder: Path) -> None:
    """Every comparison in a row of its own, in the units that the pages write; and in another file,
    by chapter and key, what a claim's comparisons share: its sentence and rule in each of thousands
    of rows would be most of the file."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_rows(folder / CSV_NAME, (
        "chapter", "key", "data", "model", "condition", "against", "verdict", "value", "low",
        "high", "chance", "n"), _comparisons(claims))
    _write_rows(folder / CLAIMS_NAME, (
        "chapter", "key", "finding", "claim", "by", "grade", "unit", "of", "control", "rule"), (
        [name.partition(":")[0], found.claim.key, FINDINGS[found.claim.finding],
         found.claim.sentence, BY[found.claim.by], found.grade, found.unit.words.strip(),
         found.claim.of, found.claim.control, found.claim.rule.sentence]
        for name, found in claims.items()))


def _comparisons(claims: dict[str, Evidence]) -> Iterator[list]:
    for name, found in claims.items():
        claim, factor = found.claim, found.unit.factor
        for row in claim.comparisons:
            effects = ["" if each is None else f"{factor * each:.6g}"
                       for each in (row.value, row.low, row.high, row.chance)]
            yield [name.partition(":")[0], claim.key, row.data, row.model, row.condition,
                   row.against, row.verdict, *effects, row.n]


def _write_rows(path: Path, fields: Sequence[str], rows: Iterable[list]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(fields)
        table.writerows(rows)


def small_sizes() -> dict[str, dict[str, list[str]]]:
    """Per adjective and reason the sizes below which an effect is called so."""
    sizes: dict[str, dict[str, list[str]]] = {}
    for unit in UNITS.values():
        if unit.small is not None:
            own = sizes.setdefault(unit.adjective, {}).setdefault(unit.why, [])
            text = unit.text(unit.small).replace("+", "")
            own += [text] if text not in own else []
    return sizes


def corrected(claims: dict[str, Evidence]) -> list[tuple[int, str, list[str], int]]:
    """Of each chapter with claims whose rule corrects for the number of tests (Holm): its number,
    its address, the sentences of these claims, and how many claims it has in all."""
    chapters_of: dict[str, list[Evidence]] = {}
    for name, found in claims.items():
        chapters_of.setdefault(name.partition(":")[0], []).append(found)
    found = []
    for chapter, own in chapters_of.items():
        if sentences := [each.claim.sentence for each in own if "Holm" in each.claim.rule.sentence]:
            found.append((int(chapter), own[0].places[0][0].partition("#")[0], sentences, len(own)))
    return found


def blocks(claims: dict[str, Evidence], told: list[Card],
           folder: Path) -> dict[str, tuple[str, list[Shown]]]:
    """What each marker stands for, as HTML within MyST by the templates of a folder, and what it
    shows of claims."""
    templates = Environment(loader=FileSystemLoader(folder), autoescape=True,
                            undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    templates.filters["anchor"] = lambda name: make_id(f"claim {name}")
    groups = {title: [(name, found) for name, found in claims.items()
                      if found.claim.finding == key] for key, title in FINDINGS.items()}
    values = {"cards": told, "claims": claims,
              "groups": {title: rows for title, rows in groups.items() if rows}, "by": BY,
              "small": small_sizes(), "most": f"{100 * MOST:.0f}", "few": f"{100 * FEW:.0f}",
              "many": MANY,
              "corrected": corrected(claims), "legend": strips.legend(),
              "csv": f"../_static/{CSV_NAME}", "claims_csv": f"../_static/{CLAIMS_NAME}",
              "comparisons": sum(len(found.rows) for found in claims.values())}
    shown = {"rows": [each for card in told
                      for each in (_whole(card.found.short, card.found), *card.others)],
             "cards": [each for card in told
                       for each in (_whole(card.found.effect, card.found), *card.numbers,
                                    *(_whole(beside.effect, beside) for beside in card.beside))],
             "table": [_whole(found.effect, found) for found in claims.values()], "rules": [],
             "corrected": []}
    return {name: (f"````{{raw}} html\n"
                   f"{templates.get_template(f'{name}.html').render(values).strip()}\n````", of)
            for name, of in shown.items()}


def _whole(value: str, found: Evidence) -> Shown:
    """What is said of evidence as a whole."""
    return Shown(value, " + ".join(found.names), found)


def write(source: Path, notebooks: Mapping[str, NotebookNode]) -> dict[str, list[Shown]]:
    """Fill in the pages of a staged book, and write the CSV beside them.

    Args:
        source: of the book: ``book/`` with the pages, ``cards.yml`` and ``templates/``.
        notebooks: the chapters by name.

    Returns:
        What each page shows of claims, by its name.

    Raises:
        Refused: a page or a card names what no notebook emits.
    """
    texts = {path: path.read_text(encoding="utf-8")
             for path in sorted((source / "book").rglob("*.md")) if path.name != "README.md"}
    pages = [path for path, text in texts.items() if MARKER.search(text) or NUMBER.search(text)]
    if not pages:
        return {}
    claims = collect(notebooks)
    if not claims:
        raise Refused(f"{pages[0].name} shows claims, but none of {len(notebooks)} notebooks emits "
                      f"any; run 'neuronpath run' first")
    made = blocks(claims, cards(source / "book" / "cards.yml", claims),
                  source / "book" / "templates")
    shown = {}
    for path in pages:
        text, numbers = in_sentences(texts[path], claims, path.name)
        for marker in MARKER.finditer(text):
            if marker[1] not in made:
                raise Refused(f"{path.name}: '% claims: {marker[1]}'; accepted: {', '.join(made)}")
            heading = chapters.heading_above(text, marker.start())
            numbers += [replace(each, heading=heading) for each in made[marker[1]][1]]
        path.write_text(MARKER.sub(lambda match: made[match[1]][0], text), encoding="utf-8")
        shown[path.relative_to(source).with_suffix("").as_posix()] = numbers
    write_csv(claims, source / "book" / "_static")
    return shown


def as_text(claims: dict[str, Evidence]) -> str:
    """Every claim in a line, for a look without a book."""
    return "\n".join(f"{name}: {found.grade} | {found.effect} | {found.grade.tally} | "
                     f"{found.counted}" for name, found in claims.items())


if __name__ == "__main__":
    print(as_text(collect(chapters.read(Path(__file__).resolve().parents[1]))))
