import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, recall_score

from codistill.errors import DataError
from codistill.metrics.segmentation import (
    IGNORE,
    class_accuracy,
    class_counts,
    class_iou,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)


def test_the_golden_case_is_fifty_per_cent():
    counts = class_counts(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 255]), 2).numpy()
    assert counts.tolist() == [[1, 1], [2, 1], [1, 2]]
    assert class_iou(counts).tolist() == [50.0, 50.0]
    assert mean_iou(counts) == 50.0


def test_scores_equal_scikit_learn_on_the_labelled_pixels():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 7, size=(40, 50))
    prediction = np.where(rng.random(label.shape) < 0.6, label, rng.integers(0, 7, size=label.shape))
    label[rng.random(label.shape) < 0.2] = IGNORE
    counts = class_counts(torch.from_numpy(prediction), torch.from_numpy(label), 7).numpy()
    true, found = label[label != IGNORE], prediction[label != IGNORE]
    assert counts[0].tolist() == np.diag(confusion_matrix(true, found)).tolist()
    np.testing.assert_allclose(class_iou(counts), 100 * jaccard_score(true, found, average=None))
    np.testing.assert_allclose(class_accuracy(counts), 100 * recall_score(true, found, average=None))
    assert mean_iou(counts) == pytest.approx(100 * jaccard_score(true, found, average="macro"))
    assert pixel_accuracy(counts) == pytest.approx(100 * accuracy_score(true, found))


def test_absent_classes_are_left_out_and_predicted_ones_are_not():
    # Class 2 is nowhere: in no mean. Class 1 is predicted but not labelled: 0 in mIoU, not in mAcc.
    counts = class_counts(torch.tensor([0, 0, 1]), torch.tensor([0, 0, 0]), 3).numpy()
    assert np.isnan(class_iou(counts)[2]) and class_iou(counts)[1] == 0.0
    assert mean_iou(counts) == pytest.approx((200 / 3 + 0) / 2)
    assert mean_accuracy(counts) == pytest.approx(200 / 3)


def test_counts_add_over_images_and_sums_may_be_stacked():
    generator = torch.Generator().manual_seed(1)
    predictions, labels = torch.randint(0, 4, (2, 5, 8, 8), generator=generator)
    each = np.stack([class_counts(p, t, 4).numpy() for p, t in zip(predictions, labels, strict=True)])
    assert (each.sum(0) == class_counts(predictions, labels, 4).numpy()).all()
    assert mean_iou(each).shape == (5,)
    assert mean_iou(each)[2] == mean_iou(each[2])


def test_nothing_labelled_gives_nan_not_zero():
    counts = class_counts(torch.tensor([0, 1]), torch.tensor([255, 255]), 2).numpy()
    assert np.isnan(mean_iou(counts)) and np.isnan(pixel_accuracy(counts))


def test_shapes_that_differ_are_refused():
    with pytest.raises(DataError, match="resize the prediction to the label"):
        class_counts(torch.zeros(2, 2), torch.zeros(2, 3), 2)
