import numpy as np
import pytest

from ferlib.data import audit_dataset


def test_duplicates_are_found_within_and_across_splits(make_dataset):
    dataset = make_dataset(
        [0, 0, 1, 1, 1, 2, 3, 3],
        [0, 0, 1, 2, 1, 3, 4, 4],
        splits=["train", "train", "train", "train", "test", "test", "test", "test"],
    )
    audit = audit_dataset(dataset)
    assert [rows.tolist() for rows in audit.identical] == [[0, 1], [2, 3, 4], [6, 7]]
    assert [rows.tolist() for rows in audit.within["train"]] == [[0, 1], [2, 3]]
    assert [rows.tolist() for rows in audit.within["test"]] == [[6, 7]]
    assert [rows.tolist() for rows in audit.across] == [[2, 3, 4]]
    assert [rows.tolist() for rows in audit.conflicting] == [[2, 3, 4]]
    table = audit.to_frame()
    assert table.loc["identical images"].tolist() == [3, 7]
    assert table.loc["identical across splits"].tolist() == [1, 3]


def test_images_without_contrast_are_blank(make_dataset):
    dataset = make_dataset(range(4), [0] * 4)
    dataset.images[1] = 255
    dataset.images[2] = 7
    dataset.images[2, 0, 0] = 9
    audit = audit_dataset(dataset)
    assert audit.blank.tolist() == [1, 2]
    assert audit.to_frame().loc["blank"].tolist() == [2, 2]


def test_empty_dataset_has_no_findings(make_dataset):
    audit = audit_dataset(make_dataset([0], [0]).select(np.array([], dtype=int)))
    assert audit.to_frame().to_numpy().sum() == 0


@pytest.mark.real_data
def test_fer2013_has_the_known_faults(fer2013):
    # By its checksum, because a copy that lost images in loading must fail here.
    if fer2013.info.sha256 != "9a9dfd79a0fc40fefde9cd11dc80ac9a600f22db9613b69007a3e080359ee366":
        pytest.skip("not the copy of FER2013 whose faults were counted")
    audit = audit_dataset(fer2013)
    assert len(fer2013) == 32298
    # Counted once with numpy.unique over whole images, apart from the audit's own code.
    table = audit.to_frame()
    assert table.loc["identical images"].tolist() == [1271, 2801]
    assert table.loc["identical across splits"].tolist() == [270, 631]
    assert table.loc["identical with conflicting labels", "groups"] == 47
    assert table.loc["blank", "images"] == 13
