"""Importing Keras and ONNX Runtime with the settings that ferlib needs, without messages of native libraries."""

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import IO

# Standard error belongs to the whole process: two threads must not redirect it at the same time.
_redirection = threading.RLock()


def import_keras() -> ModuleType:
    """Import Keras, on TensorFlow unless ``KERAS_BACKEND`` names another backend, and let it find its devices."""
    if "keras" in sys.modules:
        return sys.modules["keras"]
    # TensorFlow reads these when it is imported. Only errors are logged.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # TensorFlow uses oneDNN only on processors with AVX-512 VNNI or newer instructions. Processors with AVX2 alone gain
    # as well: a training step of vgg_dense took 2.1 s instead of 3.0 s, one of gap_cnn 0.14 s instead of 0.21 s.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with suppress_native_stderr():
        import keras

        # The first operation initializes the devices, which is when TensorFlow logs most.
        keras.ops.convert_to_numpy(keras.ops.zeros(1))
    return keras


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime without its telemetry.

    From version 1.29 on, its builds for Linux and macOS send data about the process and the networks to Microsoft, and
    keep an identifier of the machine, unless ``ORT_DISABLE_TELEMETRY`` is set before they start.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


@contextlib.contextmanager
def suppress_native_stderr() -> Iterator[None]:
    """Hold back what the process, with its native libraries, writes to standard error; if the block fails, write it.

    For starting and exporting only: meanwhile other threads that do the same wait, and what any other thread writes is
    held back too. What a service calls uses the libraries' own settings instead.
    """
    with _redirection, _open_temporary() as held:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _open_temporary() -> IO[bytes]:
    """Return a temporary file, or the null device where no folder can be written to."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "w+b")  # noqa: PTH123
