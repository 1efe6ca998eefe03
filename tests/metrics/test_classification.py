import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from codistill.errors import DataError
from codistill.metrics.classification import hits_at, mean_per_class


def test_hits_equal_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(60, 9, generator=generator)
    labels = torch.randint(0, 9, (60,), generator=generator)
    hits = hits_at(scores, labels, (1, 3, 9))
    for column, k in enumerate((1, 3)):
        expected = top_k_accuracy_score(labels.numpy(), scores.numpy(), k=k, labels=range(9))
        assert hits[:, column].double().mean().item() == pytest.approx(expected)
    assert hits[:, 2].all()


def test_equal_scores_are_no_find():
    hits = hits_at(torch.tensor([[1.0, 1.0, 0.0], [torch.nan, 0.0, 0.0]]), torch.tensor([0, 0]), (1, 2))
    assert hits.tolist() == [[False, True], [False, False]]


def test_the_mean_per_class_is_balanced_accuracy():
    labels = np.array([0, 0, 0, 2, 2, 5])
    predicted = np.array([0, 0, 2, 2, 5, 5])
    assert mean_per_class(labels == predicted, labels) == pytest.approx(
        balanced_accuracy_score(labels, predicted)
    )


def test_shapes_are_checked():
    with pytest.raises(DataError, match=r"scores must be \(image, class\)"):
        hits_at(torch.zeros(3, 2), torch.zeros(4))
    with pytest.raises(DataError, match="one value per image"):
        mean_per_class(np.zeros(2), np.zeros(3, dtype=int))
