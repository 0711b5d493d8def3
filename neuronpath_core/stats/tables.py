"""Tables as a page shows them: a caption, headers in words, folded unless they are the point."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import groupby
from numbers import Integral

import pandas as pd

from neuronpath_core.stats.report import typeset


@dataclass(frozen=True)
class Table:
    """A data frame that shows itself as a captioned table.

    In a notebook it is HTML, plain text and CSV at once; the book's build offers the CSV beside the
    table.
    """

    frame: pd.DataFrame
    caption: str
    folded: bool = True
    digits: int | Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        # columns may be named after somebody's models, which may be called anything
        for header in (*_names(self.frame.index), *_parts(self.frame.columns)):
            if not isinstance(header, (str, Integral)) or isinstance(header, bool) or not str(
                    header).strip():
                raise ValueError(f"a table's headers are words, got {header!r}; accepted: text, or "
                                 f"whole numbers")
        if not self.caption.strip():
            raise ValueError("a table without a caption; accepted: a sentence that says what it "
                             "holds")

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self.html(), "text/csv": self.csv()}

    def __repr__(self) -> str:
        return f"{self.caption}\n{self._shown().to_string(index=False)}"

    def _shown(self) -> pd.DataFrame:
        """The cells as they are printed, rows' names as columns in front."""
        flat = self.frame.reset_index() if any(_names(self.frame.index)) else self.frame
        cells = [[self._cell(value, name) for value in flat.iloc[:, place]]
                 for place, name in enumerate(flat.columns)]
        return pd.DataFrame(dict(enumerate(cells))).set_axis(flat.columns, axis=1)

    def _cell(self, value: object, column: Hashable) -> str:
        if isinstance(value, bool) or type(value).__name__ == "bool":
            return "yes" if value else "no"
        if isinstance(value, float):
            last = column[-1] if isinstance(column, tuple) else column
            digits = self.digits.get(last) if isinstance(self.digits, Mapping) else self.digits
            if math.isnan(value):
                return "–"
            return f"{value:.4g}" if digits is None else f"{value:.{digits}f}"
        return "–" if value is None or value is pd.NA else str(value)

    def csv(self) -> str:
        """The table's values as CSV, with one header line, unrounded; headers above one another are
        joined by a comma."""
        columns = self.frame.columns
        flat = [", ".join(map(str, each)) for each in columns] if columns.nlevels > 1 else columns
        return self.frame.set_axis(flat, axis=1).to_csv(
            index=any(_names(self.frame.index)), lineterminator="\n")

    def slug(self) -> str:
        """The caption's first words as the name of a file."""
        words = re.findall(r"[a-z0-9]+", self.caption.lower())
        return "-".join(words[:8]) or "table"

    def html(self) -> str:
        """The table as HTML: every header a word, row headers that say so, a region that scrolls
        and can be reached by keyboard."""
        caption = html.escape(self.caption)
        body = (f'<div class="np-scroll" tabindex="0" role="region" aria-label="{caption}">'
                f'<table class="dataframe" aria-label="{caption}">{self._head()}{self._body()}'
                f"</table></div>")
        # where a page would make mathematics of dollar signs
        literal = " tex2jax_ignore mathjax_ignore" if "$" in body else ""
        data = f'class="np-table{literal}" data-csv="{self.slug()}"'
        if self.folded:
            rows = len(self.frame)
            return (f"<details {data}><summary>{caption} "
                    f'<span class="np-rows">({rows} row{"s" * (rows != 1)})</span></summary>'
                    f"{body}</details>")
        return f"<figure {data}><figcaption>{caption}</figcaption>{body}</figure>"

    def _head(self) -> str:
        names, columns = _names(self.frame.index), self.frame.columns
        depth = columns.nlevels
        front = "".join(f'<th scope="col" rowspan="{depth}">{html.escape(str(name))}</th>'
                        for name in names)
        rows = []
        for level in range(depth):
            above = [column[: level + 1] if depth > 1 else (column,) for column in columns]
            cells = "".join(
                f'<th scope="{"col" if level == depth - 1 else "colgroup"}" '
                f'colspan="{len(list(same))}">{html.escape(str(key[-1]))}</th>'
                for key, same in groupby(above))
            rows.append(f"<tr>{front if level == 0 else ''}{cells}</tr>")
        return f"<thead>{''.join(rows)}</thead>"

    def _body(self) -> str:
        levels, shown = len(_names(self.frame.index)), self._shown()
        cells = [list(row) for row in shown.itertuples(index=False, name=None)]
        number = [pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)
                  for kind in self.frame.dtypes]
        rows = []
        for index, row in enumerate(cells):
            line = []
            for level in range(levels):
                outer = row[: level + 1]
                if level < levels - 1:
                    if index and cells[index - 1][: level + 1] == outer:
                        continue
                    run = 1
                    while index + run < len(cells) and cells[index + run][: level + 1] == outer:
                        run += 1
                    line.append(f'<th scope="rowgroup" rowspan="{run}">'
                                f"{html.escape(row[level])}</th>")
                else:
                    line.append(f'<th scope="row">{html.escape(row[level])}</th>')
            line += [f'<td{" class=np-number" if is_number else ""}>'
                     f"{html.escape(typeset(value))}</td>"
                     for value, is_number in zip(row[levels:], number, strict=True)]
            rows.append(f"<tr>{''.join(line)}</tr>")
        return f"<tbody>{''.join(rows)}</tbody>"


def _names(index: pd.Index) -> list[Hashable]:
    """The names of the levels of rows' names; none for rows that are only counted."""
    return [] if index.names == [None] else list(index.names)


def _parts(columns: pd.Index) -> list[Hashable]:
    """Every header of the columns, of all levels."""
    return [part for column in columns
            for part in (column if isinstance(column, tuple) else (column,))]


def table(frame: pd.DataFrame, caption: str, *, folded: bool = True,
          digits: int | Mapping[str, int] | None = None) -> Table:
    """A data frame as a captioned table, with words for headers.

    Args:
        frame: what to show; the rows' index is shown where it has names.
        caption: a sentence that says what the table holds, units and intervals included.
        folded: whether a page shows it closed.
        digits: decimals of floats, for all columns or by column; four significant ones by default.

    Raises:
        ValueError: for headers that are no words (a truth value, a fraction, nothing), or without a
            caption.
    """
    return Table(frame, caption, folded, digits)
