import re

import pandas as pd
import pytest
import update_docs
from documents import ROOT, prose

from ferlib.runs.folder import Run, pretrained_run_dir

#: Pages whose numbers are measurements.
_MEASURED = ("README.md", "docs/results.md", "docs/pretrained-model.md", "docs/benchmarks.md", "docs/scale.md")

# Numbers that are not measurements: levels of intervals, shares of a split, sizes of FER2013's parts and of settings.
_NOT_MEASURED = {
    "README.md": {"95 %", "5 %", "25,839", "2,870", "3,589", "1.5", "1.6"},
    "docs/results.md": {
        "95 %",
        "90 %",
        "50 %",
        "25 %",
        "25,839",
        "2,870",
        "3,589",
        "1,610",
        "1,000",
        "2,000",
        "1.5",
        "1.7",
        "1.8",
        "1.5 %",
        "0.05",
    },
    "docs/pretrained-model.md": {"25,839", "0.3", "9.3", "15 %", "20 %"},
    "docs/benchmarks.md": set(),
    "docs/scale.md": {"1,000"},
}
_NUMBER = re.compile(
    r"(?<![\w.,])\d[\d,]*(?:\.\d+)? ?%|(?<![\w.,])\d[\d,]*\.\d+(?![\w.])|(?<![\w.,])\d{1,3}(?:,\d{3})+(?![\w.])"
)


@pytest.mark.parametrize("path", update_docs.DOCUMENTS, ids=lambda path: path.name)
def test_numbers_are_those_of_the_records(path):
    text = path.read_text(encoding="utf-8")
    assert update_docs.update(text) == text


@pytest.mark.parametrize("document", _MEASURED)
def test_every_measured_number_names_its_record(document):
    text = re.sub(r"<!-- table: .*?<!-- end of table -->", "", prose(document), flags=re.DOTALL)
    text = update_docs.NUMBER.sub("", text)
    text = re.sub(
        r"`[^`]*`|\]\([^)]*\)|!\[[^]]*\]|\(EU\) [\d/]+|AI Act|Python 3\.\d+(?:, 3\.\d+)*(?: or 3\.\d+)?", "", text
    )
    assert set(_NUMBER.findall(text)) - _NOT_MEASURED[document] == set()


def test_a_wrong_number_is_corrected():
    mark = "<!-- results.csv | bovw_fisher | accuracy -->"
    assert update_docs.update(f"about 12.3 %{mark} of them") == f"about 69.6 %{mark} of them"


def test_reports_describe_the_pretrained_model():
    results = pd.read_csv(ROOT / "reports" / "results.csv", index_col="model")
    row = results.loc[f"{Run(pretrained_run_dir()).config.model} (pretrained)"]
    for name in ("accuracy", "macro_f1", "log_loss", "ece"):
        assert row[name] == pytest.approx(update_docs.read_record(f"pretrained.json | test.{name}"), abs=1e-5)
    card = (ROOT / "reports" / "model_card.md").read_bytes()
    assert card == (pretrained_run_dir() / "model_card.md").read_bytes()


def test_results_agree_with_the_recorded_runs():
    results = pd.read_csv(ROOT / "reports" / "results.csv", index_col="model")
    runs = pd.read_csv(ROOT / "reports" / "experiments.csv", index_col="run")
    common = results.index.intersection(runs.index)
    assert {"bovw", "gap_cnn", "words_and_network"} <= set(common)
    assert results.loc[common, "accuracy"].to_numpy() == pytest.approx(runs.loc[common, "test accuracy"], abs=1e-5)
