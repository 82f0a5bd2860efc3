"""Write a static page of all datasets and templates with rendered examples.

  flan browse --out DIR                      demo rows, all datasets
  flan browse --out DIR --data_dir TFDS      rows of a data folder where it has them
  flan browse --out DIR nli squad            some datasets and clusters

Open DIR/index.html in a browser; no server is needed.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("names", nargs="*", help="datasets and clusters; all by default")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the pages")
    parser.add_argument("--data_dir", help="TFDS folder with rows to show")
    parser.add_argument("--num", type=int, default=2, help="rows of each dataset's first source")


def run(args: argparse.Namespace) -> int:
    """Writes the pages and says where."""
    from flan.browse import write_site

    index = write_site(args.out, args.names or ("all", "extra"), args.data_dir, args.num)
    print(index)
    return 0
