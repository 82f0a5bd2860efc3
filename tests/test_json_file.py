"""JSON of others: whatever is wrong with it, the file is named."""

from __future__ import annotations

import pytest

from flan.json_file import read_json, read_object


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b"9" * 400, "a number of 400 digits"),
        (b"9" * 5000, "a number of 5,000 digits"),
        (b"[1]", "expected an object, got list"),
    ],
)
def test_the_file_and_what_is_wrong_are_named(content, message, tmp_path):
    path = tmp_path / "values.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"values.json: .*{message}"):
        read_object(path)


def test_no_limit_as_tokenizers_write_it_is_read(tmp_path):
    path = tmp_path / "values.json"
    path.write_text(f'{{"model_max_length": {10**30}}}')
    assert read_json(path) == {"model_max_length": 10**30}
