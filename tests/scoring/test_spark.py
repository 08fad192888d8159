"""The recipe for Spark in the documentation."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from albums import assert_rows_are_those_of_predict

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="pyspark is not installed: pip install pyspark")
@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java, which is not installed")
def test_the_recipe_gives_the_rows_of_predict(album, tmp_path):
    import pyarrow.parquet as pq

    [recipe] = re.findall(r"^```python\n(from pyspark.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len([line for line in recipe.splitlines() if line.strip()]) <= 15
    # Spark leaves out files without content.
    (album / "more" / "empty.png").unlink()
    shutil.copytree(album, "photos", ignore=shutil.ignore_patterns(".*"))
    code = recipe.replace('"*.jpg"', '"*.{jpg,png}"').replace(
        "SparkSession.builder", 'SparkSession.builder.master("local[2]").config("spark.ui.enabled", False)'
    )
    code = code.replace('.load("photos")', '.option("recursiveFileLookup", True).load("photos")')
    Path("recipe.py").write_text(code)
    environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}

    done = subprocess.run([sys.executable, "recipe.py"], capture_output=True, text=True, check=False, env=environment)

    assert done.returncode == 0, done.stderr[-3000:]
    rows = pq.read_table("scores").to_pylist()
    place = f"file:{Path('photos').resolve()}/"
    for row in rows:
        name = row["path"].removeprefix(place).replace("%20", " ")
        row["error"] = row["error"] and row["error"].replace(row["path"], f"album/{name}")
        row["path"] = f"album/{name}"
    assert_rows_are_those_of_predict(rows, album, tmp_path)
