"""The process that reads seqio's examples and packs them, for `flan.data.seqio_process`.

    python -m flan.data.seqio_server FD

Messages over the socket FD are JSON objects, each way, and a packed batch is followed by
one message with its arrays, int32 end to end. The first asks for a stream (`StreamRequest`) or for the
vocabulary of a task; then each asks for the rows of a step or for the counts before one.
What takes long reports progress. The process ends with its standard input, which its parent
holds open.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from flan.data.seqio_request import StreamRequest
from flan.data.stream_rows import WINDOW, RowStream, with_prefix
from flan.data.vocabulary import load_vocabulary

_REPORT_EVERY = 16  # steps


def serve(connection: Connection, asked: Iterator[dict[str, Any]]) -> None:
    """Answers questions until there are no more. A question that fails is the last."""

    def say(message: dict[str, Any]) -> None:
        connection.send_bytes(json.dumps(message).encode())

    notes = _Notes()
    logging.getLogger("flan").addHandler(notes)
    stream = None
    try:
        first = next(asked)
        if "vocabulary" in first:
            from flan.data.seqio_own_vocabulary import own_vocabulary

            say({"vocabulary": own_vocabulary(**first["vocabulary"]), "notes": notes.taken()})
            return
        request = StreamRequest.from_json(first["stream"])
        stream, told = _open(request, say)
        say({**told, "notes": notes.taken()})
        for question in asked:
            step = question["step"]
            reached = [stream.step]

            def report(now: int, step: int = step, reached: list[int] = reached) -> None:
                if now - reached[0] >= _REPORT_EVERY:
                    reached[0] = now
                    say({"progress": ["seqio, to the step", now, step, "step"]})

            stream.skip_to(step, report)
            if question["rows"]:
                rows = stream.next_rows()
                sizes = [len(array) for array in rows]
                content = b"".join(array.astype(np.int32).tobytes() for array in rows)
                say({"sizes": sizes, "counts": stream.counts.tolist(), "notes": notes.taken()})
                connection.send_bytes(content)
            else:
                say({"counts": stream.counts.tolist(), "notes": notes.taken()})
    except (BrokenPipeError, EOFError, ConnectionResetError):
        return  # nobody listens any more
    except Exception as error:
        say({"error": _told(error), "notes": notes.taken()})
    finally:
        logging.getLogger("flan").removeHandler(notes)
        if stream is not None:
            stream.close()


def _open(request: StreamRequest, say: Any) -> tuple[RowStream, dict[str, Any]]:
    from flan.data.seqio_examples import open_examples

    examples = open_examples(request)
    stream = RowStream(
        (with_prefix(chunk, request.prefix) for chunk in examples.chunks),
        tasks=len(examples.tasks),
        row_length=request.row_length,
        longest_targets=request.feature_lengths["targets"],
        batch_size=request.batch_size,
        host=request.host,
        hosts=request.hosts,
        seed=request.seed,
        progress=lambda now: say({"progress": ["seqio, first rows", now, WINDOW, "example"]}),
    )
    eos = load_vocabulary(request.vocabulary).eos_id
    if stream.ends_in != eos:
        logging.getLogger("flan").warning(
            "%s: not every example ends in EOS (%d), so a model may not learn where to stop",
            request.name,
            eos,
        )
    return stream, {
        "tasks": [list(task) for task in examples.tasks],
        "max_targets": stream.max_targets,
        "mean_length": stream.mean_length,
        "digest": stream.digest,
    }


class _Notes(logging.Handler):
    """Keeps warnings for the parent, which shows them as its own."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._texts.append(record.getMessage())

    def taken(self) -> list[str]:
        """The warnings since the last call."""
        texts, self._texts = self._texts, []
        return texts


def _told(error: Exception) -> str:
    """An error in words; one that is not known to be the user's comes with its place."""
    if isinstance(error, (ValueError, OSError)):
        return str(error)
    # TensorFlow wraps what Python code inside a graph raises in pages of its own.
    traceback.print_exc()
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = next((line for line in lines if "Error: " in line), lines[0] if lines else "")
    return f"{type(error).__name__}: {cause}"


def questions(connection: Connection) -> Iterator[dict[str, Any]]:
    """What is asked, as it comes; EOFError where nobody asks any more."""
    while True:
        yield json.loads(connection.recv_bytes())


def main() -> None:
    """Serves one parent."""
    # These are the parent's to answer: it asks for rows until it has saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    connection = Connection(int(sys.argv[1]))
    coming = questions(connection)
    first = next(coming)

    import seqio

    from flan.data.seqio_examples import make_deterministic

    make_deterministic(first.get("stream", {}).get("seed", 0))
    seqio.set_tfds_data_dir_override(first.get("stream", {}).get("data_dir"))

    def asked() -> Iterator[dict[str, Any]]:
        yield first
        yield from coming

    serve(connection, asked())
    # TensorFlow's threads may still be at work, which an ordinary end would wait for or trip over.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
