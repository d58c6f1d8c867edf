"""What is refused as a policy."""

import pytest

from tamis.errors import ConfigError
from tamis.models.config import ModelConfig
from tamis.policy.load import load_chat_tokenizer


@pytest.mark.parametrize("inside", ["align/policy", "rl/policy", "best/policy"])
def test_a_run_directory_names_its_policy(tmp_path, inside):
    (tmp_path / inside).mkdir(parents=True)
    with pytest.raises(ConfigError, match=f"is a run directory and no policy; .*{inside}"):
        load_chat_tokenizer(ModelConfig(path=str(tmp_path)))
