import os

import numpy as np
import pytest

from ferlib.core.errors import DataError
from ferlib.data import prepare_dataset


@pytest.fixture
def source(pack, encode):
    classes = ("happy", "sad")
    return pack(
        {f"train/{name}/{i}.png": encode(i + 50 * k, size=(6, 6)) for k, name in enumerate(classes) for i in range(20)}
    )


def cached(data_dir):
    return sorted((data_dir / "processed").iterdir())


def test_second_call_reads_the_cache(source, tmp_path):
    first = prepare_dataset(source, tmp_path, val_fraction=0.2, seed=4)
    written = cached(tmp_path)[0].stat().st_mtime_ns
    again = prepare_dataset(source, tmp_path, val_fraction=0.2, seed=4)
    assert [path.stat().st_mtime_ns for path in cached(tmp_path)] == [written]
    assert np.array_equal(first.images, again.images)
    assert first.splits.tolist() == again.splits.tolist()
    assert first.info == again.info
    assert (first.splits == "val").sum() == 8
    assert cached(tmp_path)[0].name.startswith("source-")


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 1},
        {"split_scheme": "90/10"},
        {"emotions": "sad,happy"},
        {"image_size": (5, 5)},
        {"channels": 3},
        {"sample_size": 9},
    ],
)
def test_other_options_are_cached_separately(source, tmp_path, options):
    prepare_dataset(source, tmp_path)
    prepare_dataset(source, tmp_path, **options)
    assert len(cached(tmp_path)) == 2


def test_changed_source_is_read_again(source, tmp_path):
    prepare_dataset(source, tmp_path)
    changed = source if source.is_file() else source / "train/sad/3.png"
    os.utime(changed, ns=(1, 1))
    prepare_dataset(source, tmp_path)
    assert len(cached(tmp_path)) == 2


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_damaged_cache_is_written_again(source, tmp_path, content):
    first = prepare_dataset(source, tmp_path)
    path = cached(tmp_path)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-100] if content is None else content)
    assert np.array_equal(prepare_dataset(source, tmp_path).images, first.images)
    assert path.read_bytes()[:2] == b"PK"
    assert len(path.read_bytes()) == len(whole)


def test_missing_source_is_an_error(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        prepare_dataset(tmp_path / "nowhere.zip", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_final_scheme_opens_private_test(pack, encode, tmp_path):
    names = [f"train/{name}/Training_{n}.png" for name in ("happy", "sad") for n in range(20)]
    names += [f"test/{name}/{usage}_1.png" for name in ("happy", "sad") for usage in ("PublicTest", "PrivateTest")]
    path = pack({name: encode(seed) for seed, name in enumerate(names)})
    usual, final = (prepare_dataset(path, tmp_path, split_scheme=scheme) for scheme in ("official", "final"))
    assert set(usual.split("test").source_splits) == {"PublicTest"}
    assert set(final.split("test").source_splits) == {"PrivateTest"}
    assert final.split("train").names.tolist() == usual.split("train").names.tolist()
    without = pack({name: encode(seed) for seed, name in enumerate(names) if "Private" not in name})
    (tmp_path / "source" / names[-1]).unlink(missing_ok=True)
    (tmp_path / "source" / names[-3]).unlink(missing_ok=True)
    with pytest.raises(DataError, match="has no images for 'PrivateTest'"):
        prepare_dataset(without, tmp_path / "other", split_scheme="final")
