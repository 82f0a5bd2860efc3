"""Data that several tests of this folder read."""

import pytest

DEMO_DATASETS = ("rte", "anli", "arc", "xsum", "bool_q")


@pytest.fixture(scope="session")
def demo_data_dir(tmp_path_factory):
    """A TFDS folder with 60 train rows and 20 of each other split of `DEMO_DATASETS`."""
    from flan.data.demo import write_demo

    folder = tmp_path_factory.mktemp("demo_data")
    write_demo(folder, DEMO_DATASETS, train_rows=60, eval_rows=20)
    return folder
