"""One path table as the bytes of one file: compact, the same for the same table, checked when read.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from neuronpath_core.support.text import one_line

TYPES = {"image": pa.int64(), "label": pa.int64(), "score": pa.float64(), "steps": pa.int64()}
COLUMNS = (*TYPES, "neurons")
FILE = "file"  # a last column of tables of images that are files: their names
NOTES = b"neuronpath"  # the entry of Parquet's metadata that holds a table's notes
THREADS_FROM = 2**20  # bytes; handing a smaller file to other threads takes longer than reading it


def table_bytes(table: pd.DataFrame, notes: dict | None = None) -> bytes:
    """A path table as a Parquet file, its neurons in the narrowest of uint16, int32 and int64 that
    holds them all; the same table gives the same bytes.

    Args:
        table: columns ``image``, ``label``, ``score``, ``steps``, ``neurons`` (whole numbers,
            equally many in every row: block after block, rank after rank) and, where the images
            are files, ``file``, the name of each.
        notes: JSON values that are kept with it.

    Raises:
        ValueError: other columns, or values that such a table cannot hold.
    """
    named = tuple(table.columns) == (*COLUMNS, FILE)
    if not named and tuple(table.columns) != COLUMNS:
        raise ValueError(f"a path table must have the columns {', '.join(COLUMNS)}, got "
                         f"{', '.join(map(str, table.columns))}")
    try:
        neurons = np.stack(table["neurons"].to_numpy())
        if neurons.ndim != 2 or not neurons.size or neurons.dtype.kind not in "iu":
            raise ValueError(f"neurons of type {neurons.dtype} and shape {neurons.shape}")
        narrow = next(kind for kind in (np.uint16, np.int32, np.int64) if np.iinfo(kind).min
                      <= neurons.min() and neurons.max() <= np.iinfo(kind).max)
        columns = [pa.array(table[name].to_numpy(), from_pandas=False).cast(kind) for name,
                   kind in TYPES.items()]
        files = [pa.array(table[FILE], pa.string())] if named else []
        if any(column.null_count for column in columns + files):
            raise ValueError("an entry is missing")
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise ValueError(f"not a path table ({one_line(error)}); accepted: numbers, and as "
                         f"neurons equally many whole numbers a row") from error
    columns.append(pa.FixedSizeListArray.from_arrays(pa.array(neurons.astype(narrow).ravel()),
                                                     neurons.shape[1]))
    columns += files
    # without pandas' own metadata, which names its version
    rows = pa.Table.from_arrays(columns,
                                names=list(table.columns)).replace_schema_metadata(
        {NOTES: json.dumps(notes or {}, sort_keys=True)})
    stream = pa.BufferOutputStream()
    pq.write_table(rows, stream, compression="zstd")
    return stream.getvalue().to_pybytes()


def table_from_bytes(content: bytes) -> tuple[pd.DataFrame, dict]:
    """The table of a Parquet file, every row's ``neurons`` an int64 array, and the notes kept with
    it.

    Raises:
        ValueError: not a whole Parquet file, or not of a path table.
    """
    try:
        rows = pq.read_table(pa.BufferReader(content), use_threads=len(content) > THREADS_FROM)
        columns = tuple(rows.column_names)
        named = columns == (*COLUMNS, FILE)
        if not (named or columns == COLUMNS) or any(column.null_count for column in rows.columns):
            raise ValueError(f"columns {', '.join(rows.column_names)}")
        neurons = np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False)
                                  for chunk in rows["neurons"].chunks])
        neurons = neurons.astype(np.int64, copy=False).reshape(len(rows), -1)
        table = pd.DataFrame({name: rows[name].to_numpy() for name in TYPES}
                             | {"neurons": list(neurons)}
                             | ({FILE: rows[FILE].to_pylist()} if named else {}))
        return table, dict(json.loads((rows.schema.metadata or {}).get(NOTES, b"{}")))
    # a truncated file is an OSError of pyarrow's
    except (ValueError, TypeError, AttributeError, OSError, pa.ArrowException) as error:
        raise ValueError(f"not a path table ({one_line(error, 200)}); accepted: a whole file of "
                         f"table_bytes") from error
