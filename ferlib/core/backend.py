"""Keep the lines of C and C++ libraries away from people, such as TensorFlow's at its start."""

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from types import ModuleType

# Standard error belongs to the whole process: two threads must not redirect it at the same time.
_redirection = threading.RLock()


@contextlib.contextmanager
def suppress_native_stderr(*, always: bool = False) -> Iterator[None]:
    """Hold back what the process, C++ libraries included, writes to standard error; let it out if the block fails.

    For the imports of TensorFlow and of what imports it; what it logs after that has to be an error at least.

    Parameters
    ----------
    always : bool
        Let nothing out at all, because the failure says all there is to say.
    """
    # Read by TensorFlow when it is first imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _redirection, tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            if not always:
                held.seek(0)
                os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def import_keras() -> ModuleType:
    """Import Keras quietly and let its backend find its devices, which is when TensorFlow has most to say.

    TensorFlow is told to compute with oneDNN, unless ``TF_ENABLE_ONEDNN_OPTS`` says otherwise.

    Returns
    -------
    module
        ``keras``, on TensorFlow unless ``KERAS_BACKEND`` chose another.
    """
    if "keras" in sys.modules:
        return sys.modules["keras"]
    # TensorFlow's own choice is to do so where a processor has AVX-512 VNNI or newer instructions. Processors with
    # AVX2 alone gain as well: a training step of vgg_dense took 2.1 s instead of 3.0, of gap_cnn 0.14 instead of 0.21.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with suppress_native_stderr():
        import keras

        keras.ops.convert_to_numpy(keras.ops.zeros(1))
    return keras
