"""Writes flan/catalog/features.json from the builders in the installed TFDS.

Run it when the catalog reads a new source or version, then look at the diff:

    python tests/catalog/update_features.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from flan.catalog import EXTRA, all_datasets, get_datasets
from flan.catalog.dataset import Source
from flan.data.tfds_folder import Spec, read_spec

FILE = Path(__file__).resolve().parents[2] / "flan" / "catalog" / "features.json"


def catalog_sources() -> dict[str, Source]:
    """TFDS name -> a source that reads it, over all datasets, extras too."""
    return {s.tfds: s for d in get_datasets([*all_datasets(), *EXTRA]) for s in d.sources}


def builder_spec(source: Source) -> Spec:
    """The features of the builder in the wheel, as a data folder would state them."""
    import tensorflow_datasets as tfds

    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as folder:
        builder = tfds.builder(source.tfds_name, data_dir=empty)
        builder.info.features.save_config(folder)
        builder.info.features.save_metadata(folder, feature_name=None)
        return read_spec(Path(folder))


def main() -> None:
    specs = {tfds: builder_spec(source) for tfds, source in sorted(catalog_sources().items())}
    lines = (f"  {json.dumps(name)}: {json.dumps(spec)}" for name, spec in specs.items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{FILE}: {len(specs)} sources")


if __name__ == "__main__":
    main()
