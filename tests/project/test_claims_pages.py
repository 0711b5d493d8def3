"""Page one and the findings are made from the chapters' claims: what is filled in, what is refused,
and that the stored notebooks and the pages say the same."""

from __future__ import annotations

import csv
import re
import shutil
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from book import chapters, paper_numbers
from book import claims_pages as pages
from neuronpath_core.chapters import verdicts
from neuronpath_core.runs.choice import notebook_names
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import MIME, Claim, Comparison, as_json
from neuronpath_core.stats.rules import Rule
from neuronpath_core.stats.units import UNITS, Unit
from neuronpath_core.support.yaml_file import read_yaml
from tests.figures.browser import headless

ROOT = Path(__file__).resolve().parents[2]
GLUE = f"{chapters.RECORD}text/plain"


def claim(key: str, values: list[tuple[float, str, str]], **fields: str) -> Claim:
    """A claim of ``(value, verdict, condition)``."""
    rows = tuple(Comparison("digits", f"m{place}", value, value - 0.01, value + 0.01, 48, verdict,
                            condition) for place, (value, verdict, condition) in enumerate(values))
    return Claim(**{"key": key, "finding": "2", "sentence": f"A claim <on> {key}",
                    "comparisons": rows, "unit": "probability", "control": "random paths",
                    "rule": Rule("Agrees if above zero.", above=0.0), "table": "lead"} | fields)


CLAIMS = [claim("removal", [(0.031, "agrees", "now"), (0.002, "agrees", "now"),
                            (-0.2, "contradicts", "later")]),
          claim("score", [(0.5, "agrees", "")], unit="score", table="own", by="book"),
          claim("single: knowledge", [(-0.1, "contradicts", "")])]
CARDS = """\
- {key: one, title: "Does it?", claims: ["11:removal"], plain: "Of {claim}`11:removal n`.",
   replaced: "{claim}`11:removal range` points.", beside: ["11:score", "11:removal @ later"],
   more: "In {claim}`11:removal agree`.", paper: {figure: 3}}
- {key: two, title: "Does it score?", claims: ["11:score"], plain: "Yes.", replaced: not measured.,
   paper: {metric: joint_attribution_score}}
"""
PAGE = """\
# A page

In {claim}`11:removal agree`, {claim}`11:removal @ later contradict`; {claim}`11:removal span`;
{claim}`11:single: knowledge median`; {claim}`11:removal + 11:single: knowledge tally`.
{claim}`11:removal for`, {claim}`11:removal against` and {claim}`11:removal undecided`; {claim}`11:removal number`; {claim}`11:removal range`; {claim}`11:single: knowledge behind`.
{claim}`11:removal signed`; {claim}`11:removal reversed`; {claim}`11:removal tests`; {claim}`11:removal @ later interval`; {claim}`11:removal reach`.

% claims: rows

% claims: cards

% claims: rules

% claims: table

% a comment stays
"""


def staged(folder: Path, page: str = PAGE, cards: str = CARDS, claims: list[Claim] = CLAIMS,
           times: int = 1) -> Path:
    """The sources of a book of one page and one notebook."""
    shutil.copytree(ROOT / "book" / "templates", folder / "book" / "templates")
    (folder / "book" / "cards.yml").write_text(cards)
    (folder / "book" / "index.md").write_text(page)
    (folder / "book" / "README.md").write_text("`{claim}`11:nothing agree``\n")
    output = new_output("display_data", {MIME: as_json(claims), "text/plain": ""})
    nb = new_notebook(cells=[
        new_markdown_cell("# Controls"), new_code_cell("lead = None"),
        new_markdown_cell("text\n\n## Own path, & others"),
        new_code_cell("lead['text'], other = 1, 2\nown = lead"),
        new_markdown_cell("## Later"), new_code_cell("print(lead)"),
        *(new_code_cell("emit(lead)\nlead = 0", outputs=[output],
                        metadata={"tags": ["remove-cell"]}) for _ in range(times))])
    (folder / "notebooks").mkdir()
    nbformat.write(nb, folder / "notebooks" / "11_controls.ipynb")
    return folder


def filled_in(source: Path) -> dict[str, list[pages.Shown]]:
    """What the pages show of claims, once they are filled in."""
    return pages.write(source, chapters.read(source))


def test_a_page_is_filled_in(tmp_path):
    filled_in(staged(tmp_path))
    text = (tmp_path / "book" / "index.md").read_text()
    assert "In 2 of 3, 1 of 1; \u221220.0 to 3.1\u00a0% of the probability;\n\u221210.0\u00a0% of " \
           "the probability; 2 of 4 agree, 2 contradict." in text
    assert "2, 1 and 0 of 3; 0.2; \u221220.0 to 3.1; 10.0\u00a0% of the probability." in text
    assert "\u221220.0 to +3.1\u00a0% of the probability; \u22123.1 to +20.0\u00a0% of the probability; 3; " \
           "\u221220.0\u00a0% of the probability " \
           "[\u221221.0, \u221219.0]; 1.0\u00a0% of the probability." in text
    assert "% a comment stays" in text and "% claims" not in text
    html = BeautifulSoup(text, "html.parser")
    rows = [[cell.get_text(" ", strip=True) for cell in row.find_all(["td", "th"])]
            for row in html.select(".np-rows tbody tr:not(.np-replaced)")]
    assert [row[:2] for row in rows] == [["Mixed , agrees now only", "Does it? Finding 2"],
                                         ["Yes , of 1 comparison", "Does it score? asked by this book"]]
    assert rows[0][2] == ("% of the probability: median, range now +1.7 +0.2 to +3.1 "
                          "later \u221220.0 [\u221221.0, \u221219.0] 2 of 3 agree, 1 contradict; "
                          "n = 48 images "
                          "Paper: drawn in its Figure 3, without numbers")
    assert rows[1][2].endswith("Paper: median score +0.534, range +0.009 to +1.009")
    assert [row.get_text(strip=True) for row in html.select(".np-rows .np-replaced p")] == [
        "Yes on 0 of 1 data set: digits.",
        "Set to other values than zero: \u221220.0 to 3.1 points.",
        "Yes on 1 of 1 data set: digits."]  # what was not measured is not said
    assert "np-replaced" in html.select(".np-rows tbody tr")[1]["class"]  # below its own row
    assert [row.get_text(strip=True) for row in html.select(".np-rows summary")] == [
        "Yes on 0 of 1 data set; other values than zero", "Yes on 1 of 1 data set"]
    card = html.find(id="card-one")
    assert card.find(class_="np-effect").get_text(" ", strip=True) == (
        "% of the probability: median, range now +1.7 +0.2 to +3.1 "
        "later \u221220.0 [\u221221.0, \u221219.0]")
    marks = [[mark["class"][1] for mark in line.select(".np-mark")]
             for line in card.select(".np-strip li")]
    assert marks == [["np-for", "np-for"], ["np-against"]]
    assert len(html.select(".np-legend svg")) == 2 * 3  # over the rows and over the cards
    assert "Of n = 48 images." in card.get_text() and len(card.select(".np-related li")) == 2
    assert [each.summary.get_text() for each in card.select("details")] == [
        "More", "2 related claims: 1 Yes, 1 No"]
    assert "In 2 of 3." in card.details.get_text()
    assert "Yes on 0 of 1 data set: digits" in card.details.get_text()
    assert [each.summary.get_text() for each in html.find(id="card-two").select("details")] == [
        "More"]
    assert "A claim <on> removal, later: \u221220.0" in card.select(".np-related li")[1].get_text()
    assert len(html.select(".np-all tr[data-word]")) == 3
    assert {link["href"] for link in html.select(".np-all th a")} == {
        "../notebooks/11_controls.html#own-path-others"}
    assert "A claim <on> removal" in html.find(class_="np-all").get_text()  # and not a tag
    details = html.select(".np-all li")
    assert [each.get_text() for each in details][:1] == [
        "digits, m0, now: +3.1\u00a0% of the probability [+2.1, +4.1], n = 48 images: agrees"]
    assert "tiny below 5.0\u00a0% of the probability" in html.find(class_="np-rules").get_text()


def test_a_sentence_can_take_the_comparisons_of_one_data_set_or_model():
    of = claim("removal", [(0.03, "agrees", "now"), (0.01, "agrees", "now"),
                           (0.02, "agrees", "later")])
    changes = ({"data": "digits"}, {"data": "shapes", "model": "big"},
               {"data": "shapes", "against": "fill"})
    of = replace(of, comparisons=tuple(replace(row, **change) for row, change
                                       in zip(of.comparisons, changes, strict=True)))
    found = pages.Evidence((of,), (("a", "b"),), ("11:removal",))
    text, (*_, last) = pages.in_sentences(
        "{claim}`11:removal @ on shapes number`, {claim}`11:removal @ on digits agree`, "
        "{claim}`11:removal @ of big number`, {claim}`11:removal @ against fill number`, "
        "{claim}`11:removal @ now @ on shapes number`", {"11:removal": found}, "a page")
    assert text == "1.5, 1 of 1, 1.0, 2.0, 1.0"
    assert last.found.condition == "now, on shapes"
    for place in ("on photographs", "of small", "against outline"):
        with pytest.raises(pages.Refused, match="'now', 'on digits', 'of m0', "):
            found.under(place)


def test_what_a_page_shows_of_claims_is_told(tmp_path):
    """Numbers in sentences, on cards and in tables, each with its value, its claims, its heading
    and the section that it leads to."""
    page = PAGE.replace("% claims: rows", "## The rows\n\n% claims: rows")
    shown, = filled_in(staged(tmp_path, page=page)).values()
    assert [(each.value, each.name, each.heading) for each in shown][:3] == [
        ("2 of 3", "11:removal agree", "A page"),
        ("1 of 1", "11:removal @ later contradict", "A page"),
        ("\u221220.0 to 3.1\u00a0% of the probability", "11:removal span", "A page")]
    names = [each.name for each in shown]
    first = names.index("11:removal")
    assert names[first:] == [
        "11:removal", "11:removal range", "11:score",  # rows
        "11:removal", "11:removal n", "11:removal agree", "11:score", "11:removal @ later",
        "11:score",  # cards
        "11:removal", "11:score", "11:single: knowledge"]  # table
    assert {each.heading for each in shown[first:]} == {"The rows"}
    text = (tmp_path / "book" / "index.md").read_text()
    for each in shown:
        assert each.value in text or each.value.replace("<", "&lt;") in text, each.name
        assert all(address.startswith("../notebooks/11_controls.html#")
                   for address, _ in each.found.sources)


def test_every_comparison_is_in_the_csv(tmp_path):
    filled_in(staged(tmp_path))
    with (tmp_path / "book" / "_static" / "verdicts.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert {name: rows[0][name] for name in ("chapter", "value", "low", "n", "verdict")} == {
        "chapter": "11", "value": "3.1", "low": "2.1", "n": "48", "verdict": "agrees"}
    assert rows[3]["value"] == "0.5"
    with (tmp_path / "book" / "_static" / "claims.csv").open(encoding="utf-8") as file:
        told = {(row["chapter"], row["key"]): row for row in csv.DictReader(file)}
    assert {(row["chapter"], row["key"]) for row in rows} == set(told)  # each finds its claim
    first, fourth = (told[rows[place]["chapter"], rows[place]["key"]] for place in (0, 3))
    assert (first["grade"], first["unit"], first["of"]) == (
        "Mixed, agrees now only", "% of the probability", "images")
    assert fourth["unit"] == "score"
    assert all(row["control"] and row["rule"] for row in told.values())


@pytest.mark.parametrize(("change", "said"), [
    ({"page": "{claim}`11:removed agree`\n"}, "'11:removed', which no notebook emits"),
    ({"page": "{claim}`11:removal agrees`\n"}, "accepted: grade, tally, agree"),
    ({"page": "{claim}`11:removal @ never agree`\n"}, "accepted: 'now', 'on digits', 'of m0', "),
    ({"page": "{claim}`11:removal + 11:score agree`\n"}, "claims of one unit"),
    ({"page": "% claims: row\n"}, "accepted: rows, cards, table, rules"),
    ({"cards": "[{key: one, title: Q, claims: ['11:no'], plain: P, replaced: R, paper: {}}]\n"},
     "card one names the claim '11:no'"),
    ({"cards": "[{key: one, title: Q, claims: [], plain: P, replaced: R, paper: {}}]\n"}, "at least one"),
    ({"cards": "[{key: one, title: Q, claims: ['11:score'], plain: P}]\n"},
     "card one has no line 'replaced'"),
    ({"cards": "[{key: one, title: Q, claims: ['11:score'], plain: P, replaced: R}]\n"},
     "card one has no line 'paper'"),
    ({"claims": []}, "none of 1 notebooks emits any"), ({"times": 2}, "emits claims 2 times")])
def test_what_stops_a_build(tmp_path, change, said):
    with pytest.raises(pages.Refused, match=re.escape(said)):
        filled_in(staged(tmp_path, **change))


def test_a_page_lists_the_claims_whose_rule_corrects(tmp_path):
    holm = rules.above("The lead", then=" and a sign test, corrected by Holm's procedure, is below 0.05")
    own = [replace(CLAIMS[0], rule=holm, sentence="It is <ahead>"), *CLAIMS[1:]]
    filled_in(staged(tmp_path, page="% claims: corrected\n", claims=own, cards="[]\n"))
    html = BeautifulSoup((tmp_path / "book" / "index.md").read_text(), "html.parser")
    assert html.summary.get_text() == "1 of 3 claims are corrected by Holm's procedure, in 1 chapters"
    assert [each.get_text() for each in html.select("li")] == [
        "Chapter 11, 1 of 3 claims: It is <ahead>."]
    assert html.li.a["href"] == "../notebooks/11_controls.html"


def test_every_limit_that_says_what_is_corrected_has_its_chapters(stored):
    """Chapters that the limits name as correcting do, and those that they do not name do not."""
    text = (ROOT / "book" / "limits.md").read_text(encoding="utf-8")
    said = re.search(r"\*\*Many claims\.\*\*.*?(?=Nothing is corrected over)", text, re.DOTALL)[0]
    leads = said[:said.index("No claim of")]
    assert {int(number) for number in re.findall(r"notebooks/(\d\d)_", leads)} == {
        chapter for chapter, *_ in pages.corrected(stored)}


def test_a_book_without_claims_on_its_pages_needs_none(tmp_path):
    source = staged(tmp_path, page="# A page\n", claims=[], cards="[]\n")
    assert filled_in(source) == {}
    assert not (source / "book" / "_static").exists()


@pytest.fixture(scope="module")
def stored() -> dict:
    return pages.collect(chapters.read(ROOT))


def test_places_name_a_chapter_without_the_question_behind_its_colon(stored):
    named = {title for each in stored.values() for _, title in each.places}
    assert {"Chapter 2: Table 1", "Chapter 31: On photographs", "Chapter 10: Score or search?"} <= named
    assert not any(title.count(": ") > 1 for title in named)


def test_ten_cards_of_which_eight_are_the_papers(stored):
    cards = pages.cards(ROOT / "book" / "cards.yml", stored)
    assert len(cards) == len({card.key for card in cards}) == 10
    assert [card.by for card in cards].count("claimed by the paper") == 8
    for card in cards:
        assert card.replaced == "not measured." or card.others, card.key  # in words or in numbers
    assert {card.key for card in cards if card.others} == {
        "removal", "enhancement", "probability", "few", "single"}
    for card in cards:  # whose claims are one's alone
        assert len({claim.by for claim in card.found.claims}) == 1, card.key
    assert all(card.found.claim.by == "paper" for card in cards[:8])


def test_no_measured_number_is_typed_on_page_one_or_on_a_card():
    page = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    answer = (re.search(r"```\{container\} np-holds\n(.*?)\n```", page, re.DOTALL)[1]
              + page[page.index("## What stands behind"):page.index("## And what do")])
    told = [entry[name] for entry in read_yaml(ROOT / "book" / "cards.yml")
            for name in ("plain", "replaced")]
    assert len(pages.NUMBER.findall(answer)) >= 10
    for text in [answer, *told]:
        typed = re.sub(r"\{(doc|glue:text)\}`[^`]*`", "", pages.NUMBER.sub("", text))
        assert not re.search(r"\d", typed), text


def test_the_papers_numbers_are_those_of_its_table_in_the_units_of_the_cards():
    table = {(row[0], row[1]): [float(value) for value in row[2:]] for row in csv.reader(
        (ROOT / "data" / "paper" / "table1.csv").open(encoding="utf-8")) if row[0] != "metric"}
    metric = "removal_accuracy_deviation_percent"
    leads = [other - own for method in ("activation", "influence_pattern") for own, other in
             zip(table[metric, "neuron_path"], table[metric, method], strict=True)]
    assert paper_numbers.paper_values(
        metric, ("activation", "influence_pattern"), -1) == pytest.approx(leads, abs=1e-12)
    entry = {"metric": metric, "over": ["activation", "influence_pattern"], "sign": -1}
    for factor in (1, 100):  # a claim's values are points, or shares that are written as points
        assert paper_numbers.said_by_paper(entry, Unit("points", factor, 1)) == (
            "median +3.8\u00a0points, range +1.9 to +23.7")
    assert paper_numbers.said_by_paper({}, UNITS["accuracy"]) == "does not ask"


@pytest.mark.parametrize("metric, over, said", [
    ("removal", (), "no metric 'removal'; accepted: joint_attribution_score"),
    ("joint_attribution_score", ("best",), "no method 'best'; accepted: activation")])
def test_numbers_that_the_paper_has_not(metric, over, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        paper_numbers.paper_values(metric, over)


def test_every_stored_claim_has_a_unit_and_a_section(stored):
    for name, found in stored.items():
        assert found.claim.unit in UNITS, name
        assert all("#" in address for address, _ in found.places), name


def test_an_effect_lies_within_its_interval(stored):
    for name, found in stored.items():
        for row in found.rows:
            if row.low is not None and row.high is not None:
                assert row.low - 1e-6 <= row.value <= row.high + 1e-6, (name, row)


# what a chapter glues as its own tally, made by other code from the same tables
TALLIES = {"01:inversion @ with the whole block scaled": "verdict",
           "01:inversion @ with the whole block scaled, without block 1":
           "verdict without block 1",
           "01:inversion @ with one neuron scaled, Eq. 5": "verdict alone",
           "01:inversion @ with one neuron scaled, Eq. 5, without block 1":
           "verdict without block 1 alone",
           "02:score": "tally score",
           "02:removal": "tally removal",
           "02:enhancement": "tally enhancement", "03:removal": "tally removal",
           "03:enhancement": "tally enhancement", "04:concentration": "tally",
           "05:look": "tally look", "05:class": "tally class", "06:robust": "tally robust",
           "06:sparse": "tally sparse", "10:cross terms": "tally cross terms",
           "10:conditioning": "tally conditioning on the path so far",
           "11:removal": "tally removal", "11:enhancement": "tally enhancement",
           "11:score": "tally score", "11:class": "class tally",
           "11:label @ with the true label": "gain true tally",
           "11:label @ with the predicted label": "gain predicted tally",
           "14:outline": "tally outline", "14:fill": "tally fill",
           "15:few @ at all tokens, with one mask": "tally honest",
           "15:few @ at the class token, with a mask of the class": "tally published",
           "16:inversion": "inversion tally",
           "16:inversion @ over all blocks": "inversion tally over all blocks",
           "16:inversion @ without block 1": "inversion tally without block 1",
           "16:one scope": "same scope tally"}
ALONE = {"agrees": "1 of 1 agree", "not shown": "0 of 1 agree, 1 not shown",
         "contradicts": "0 of 1 agree, 1 contradict"}


def test_tallies_are_those_that_the_chapters_give(stored):
    """In the words of a chapter, in which what is not shown stands before what contradicts."""
    glued = {(notebook[:2], name): output.data[GLUE].strip("'")
             for notebook, page in chapters.read(ROOT).items()
             for name, _, output in chapters.glued(page)}
    for name, key in TALLIES.items():
        key_of, _, condition = name.partition(" @ ")
        found = stored[key_of].under(condition) if condition else stored[key_of]
        told = glued[name[:2], key]
        told = ALONE.get(told, told)
        assert sorted(told.split(", ")) == sorted(found.grade.tally.split(", ")), name


def test_every_chapter_that_has_verdicts_ends_with_them(stored):
    chapters = {path.stem for path in Path(verdicts.__file__).parent.glob("[a-z]*.py")}
    assert {name[:2] for name in stored} == {name[:2] for name in notebook_names(ROOT)
                                             if name[3:] in chapters}
    assert len(chapters) == 31


@pytest.mark.browser
def test_the_table_is_filtered_in_a_browser(tmp_path):
    """With a verdict chosen and a word typed, what does not match is hidden; without script the
    whole table is there."""
    filled_in(staged(tmp_path, page="% claims: table\n"))
    html = (tmp_path / "book" / "index.md").read_text().replace("````{raw} html", "").replace(
        "````", "")

    def shown(page) -> list[str]:
        return [row.get_attribute("id") for row in page.locator(".np-all tr[data-word]").all()
                if row.is_visible()]

    with headless() as browser:
        without = browser.new_context(java_script_enabled=False).new_page()
        without.set_content(f"<!doctype html><meta charset=utf-8>{html}")
        assert len(shown(without)) == 3 and not without.locator(".np-filter").is_visible()
        page = browser.new_page()
        page.set_content(f"<!doctype html><meta charset=utf-8>{html}")
        assert len(shown(page)) == 3
        page.locator("select[name=word]").select_option("No")
        page.get_by_label("Search").fill("KNOWLEDGE claim")
        assert shown(page) == ["claim-11-single-knowledge"]
        assert page.locator("output").inner_text() == "1 of 3 claims shown"


@pytest.mark.browser
def test_what_goes_on_beyond_the_edge_says_so_on_narrow_screens():
    """Of two boxes the one whose content is wider; and none on a wide screen."""
    sheet, script = ((ROOT / "book" / "_static" / f"study.{kind}").read_text(encoding="utf-8")
                     for kind in ("css", "js"))
    boxes = "".join(f'<div class="np-scroll"><div style="width: {width}px">text</div></div>'
                    for width in (600, 100))
    said = "box => getComputedStyle(box, '::before').content"
    with headless() as browser:
        for width, hints in ((390, [True, False]), (1280, [False, False])):
            page = browser.new_page(viewport={"width": width, "height": 600})
            page.set_content(f"<!doctype html><meta charset=utf-8><style>{sheet}</style>{boxes}"
                             f"<script>{script}</script>")
            assert ["swipe" in box.evaluate(said) for box in page.locator(".np-scroll").all()] == hints


def test_a_claim_says_on_how_many_data_sets_it_holds(stored):
    """Page one's sizes are of all data sets together; on which it holds is said beside."""
    found = stored["05:look"] if "05:look" in stored else next(iter(stored.values()))
    agree = [replace(row, data=name, verdict=verdict, value=value, low=value - 0.1, high=value + 0.1)
             for row in found.rows[:1] for name, verdict, value in (
                 ("digits", "agrees", 0.5), ("shapes", "agrees", 0.5), ("photographs", "contradicts", -0.5))]
    claims = (replace(found.claim, comparisons=tuple(agree)),)
    both = replace(found, claims=(replace(found.claim, comparisons=tuple(agree[:2])),))
    assert both.over_data == "Yes on 2 of 2 data sets: digits, shapes"
    assert replace(found, claims=claims).over_data == (
        "Yes on 2 of 3 data sets: digits Yes, shapes Yes, photographs No")
    one = replace(found, claims=(replace(found.claim, comparisons=tuple(agree[2:])),))
    assert one.over_data == "Yes on 0 of 1 data set: photographs"


@pytest.mark.parametrize("rule, said", [
    (Rule("Above.", above=0.0), "it would be shown beyond about +4.0\u00a0% of the probability"),
    (Rule("Below.", below=0.1), "it would be shown beyond about +6.0\u00a0% of the probability"),
    (Rule("A margin.", above=-0.05), "it would be shown beyond about \u22121.0\u00a0% of the probability"),
    (Rule("A margin.", above=-0.01), "it would be shown beyond about +3.0\u00a0% of the probability, a gain: "
                                     "the whole interval must lie above what may be lost"),
    (Rule("A test."), "")])
def test_what_was_not_shown_says_what_it_would_have_taken(rule, said):
    """Intervals of 0.01 - 0.04 to 0.01 + 0.04: moved until they lie above 0, or below 0.1."""
    undecided = Comparison("digits", "m", 0.01, -0.03, 0.05, 48, "not shown")
    decided = Comparison("digits", "n", 0.5, 0.4, 0.6, 48, "agrees")

    def power(*rows: Comparison) -> str:
        of = replace(claim("removal", []), comparisons=rows, rule=rule)
        return pages.Evidence((of,), (("a", "b"),), ("11:removal",)).power

    assert power(undecided, decided, undecided) == said
    assert power(decided) == ""
