import pytest
from pydantic import ValidationError

from tamis.denoise.config import DenoiseConfig


def test_a_slice_goes_up_and_replaces_thresholds():
    assert DenoiseConfig(between=(0.3, 0.4)).between == (0.3, 0.4)
    with pytest.raises(ValidationError, match="give `share` or `between`, not both"):
        DenoiseConfig(share=0.1, between=(0.3, 0.4))
    for wrong in ((0.4, 0.3), (0.3, 0.3), (-0.1, 0.5), (0.5, 1.1)):
        with pytest.raises(ValidationError, match="expected two shares in"):
            DenoiseConfig(between=wrong)
    with pytest.raises(ValidationError, match="nothing says which pairs are suspected"):
        DenoiseConfig(outside="drop")


def test_one_threshold_at_most():
    with pytest.raises(ValidationError, match="give `share` or `below`, not both"):
        DenoiseConfig(share=0.1, below=0.0)
    assert DenoiseConfig(share=0.1).below is None
    assert DenoiseConfig(below=0.0).share is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"share": 1.1},
        {"share": -0.1},
        {"alpha": 0.6},
        {"below": float("nan")},
        {"margin": "cut"},
        {"polciy": "flip"},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        DenoiseConfig(**wrong)
