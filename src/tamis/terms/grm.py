"""GRM: the trunk of a reward model goes on being able to write the better answer.

Shapes: B pairs of a batch, N pairs of the data set.
"""

from __future__ import annotations

from typing import Literal, cast

from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import logsigmoid

from tamis.errors import ConfigError, shorten
from tamis.models.config import ModelConfig
from tamis.models.language import LanguageHead, load_language_head
from tamis.models.source import split_revision
from tamis.terms.likelihood import answer_log_probs, reference_log_probs
from tamis.terms.view import Beginning, Columns, KnownPairs, Need, TermSettings, View

Form = Literal["sft", "nll", "dpo", "dpo_reference"]


class Settings(TermSettings):
    """Settings of the term ``grm``; published with base_coefficient 0.99."""

    coefficient: float = Field(0.01, ge=0, description="what the term is multiplied with")
    form: Form = Field(
        "sft",
        description="sft: the better answer becomes likely; nll: the same without a sigmoid; dpo: "
        "likelier than the other; dpo_reference: the same, compared with the starting model",
    )
    beta: float = Field(
        0.1, gt=0, description="what log-probabilities are multiplied with; not read by form nll"
    )
    language_model: str | None = Field(
        None,
        description="whose language model head predicts where training starts from a reward "
        "model, which keeps none of its own, as PATH or PATH@REVISION; None = the model that "
        "training starts from",
    )

    @model_validator(mode="after")
    def _check_beta(self) -> Settings:
        if self.form == "nll" and "beta" in self.model_fields_set:
            raise ValueError("form nll reads no beta; leave beta out, or choose form sft")
        return self


def reads(settings: Settings) -> dict[str, str]:
    """Return the path of the model whose head predicts, where it is another one.

    Its revision is part of the settings.

    Raises:
        ConfigError: it is no path and no path with a revision.
    """
    if settings.language_model is None:
        return {}
    return {"language_model": split_revision(settings.language_model)[0]}


def needs(settings: Settings) -> set[Need]:  # noqa: ARG001
    """Return that the term reads tokens."""
    return {"tokens"}


def module(beginning: Beginning, *, settings: Settings) -> LanguageHead:
    """Return the language model head of the model that training starts from, or of another.

    Raises:
        ConfigError: the model is no decoder, or has no such head, or one for other states.
    """
    source = _language_model(beginning.model, settings)
    try:
        head = load_language_head(source)
    except ConfigError as error:
        raise ConfigError(
            f"term grm needs a language model head: {error}; where training starts from a reward "
            "model, which keeps none, name the model that it was made from: language_model"
        ) from error
    width = beginning.hidden_size if head.weight_VD is None else head.weight_VD.shape[1]
    if width != beginning.hidden_size:
        raise ConfigError(
            f"term grm: the language model head of {shorten(source.path)} reads states of {width} "
            f"numbers, and this model's have {beginning.hidden_size}; choose the model that "
            "it was made from"
        )
    return head


def loss(view: View, *, settings: Settings) -> Tensor:
    """Return the text regulariser of each pair, with ``log p`` of an answer given the prompt.

        sft            -log sigmoid(beta log p(chosen))
        nll            -log p(chosen)
        dpo            -log sigmoid(z), z = beta (log p(chosen) - log p(rejected))
        dpo_reference  the same, of log p minus what it is under the starting model

    Reference: GRM (Yang et al. 2024, arXiv 2406.10216), whose loss is (1 - a) L_reward + a L_term
    with a = 0.01 (coefficient 0.01, base_coefficient 0.99) and beta 0.1. ``log p`` is a sum over
    tokens, so that ``sft`` is all but linear in it. Deviations: an answer begins at the first token
    that differs from the other one's, so that words which both answers begin with are part of the
    prompt (in the dpo forms they would cancel), as are earlier turns, of which the published label
    mask hides the first user turn alone, and it ends with the end token; where input and output
    embeddings of the model are one matrix it is trained as such, else the output embeddings stay
    those of the starting model. A target below 1 weighs both directions of the dpo forms; the other
    forms write the answer believed better alone, and half of each at target 0.5.

    Cost: the language model head on the answer tokens of the better answers (sft, nll) or of all
    answers: for each of them 6 D V operations and a third more, because logits are not kept; 64 MiB
    of logits at a time, and their gradient; the last layer is computed for all tokens. Where the
    embeddings are not one matrix, V x D frozen numbers. dpo_reference runs the starting model over
    all pairs once, before training: what both answers begin with once where rows are shared, and
    not the layers whose states are remembered.

    Args:
        view: with ``tokens``, the language model head as ``module`` and, for dpo_reference, the
            column ``reference``.
        settings: ``form`` and ``beta``.
    """
    assert view.tokens is not None
    tokens, head = view.tokens, cast(LanguageHead, view.module)
    target_B, beta = view.target_B, settings.beta
    if settings.form in ("dpo", "dpo_reference"):
        gap_B = answer_log_probs(tokens, head, side="chosen") - answer_log_probs(
            tokens, head, side="rejected"
        )
        if settings.form == "dpo_reference":
            gap_B = gap_B - view.columns["reference"]
        return -(target_B * logsigmoid(beta * gap_B) + (1 - target_B) * logsigmoid(-beta * gap_B))
    share_B = (target_B > 0.5).to(target_B.dtype) + 0.5 * (target_B == 0.5)
    chosen_B = answer_log_probs(tokens, head, side="chosen", wanted_B=(share_B > 0).tolist())
    rejected_B = answer_log_probs(tokens, head, side="rejected", wanted_B=(share_B < 1).tolist())
    return share_B * _cost(chosen_B, settings) + (1 - share_B) * _cost(rejected_B, settings)


def columns(known: KnownPairs, *, settings: Settings, seed: int) -> Columns:  # noqa: ARG001
    """Return, for dpo_reference, ``log p(chosen) - log p(rejected)`` of the starting model.

    Raises:
        ConfigError: the model is no decoder, or has no language model head.
    """
    if settings.form != "dpo_reference":
        return {}
    if known.model is None:
        raise ConfigError("form dpo_reference compares with the model that training starts from")
    head = None
    if settings.language_model is not None:
        head = _language_model(known.model, settings)
    reference_N2 = reference_log_probs(known, model=known.model, head=head)
    return {"reference": reference_N2[:, 0] - reference_N2[:, 1]}


def _language_model(start: ModelConfig, settings: Settings) -> ModelConfig:
    if settings.language_model is None:
        return start
    path, revision = split_revision(settings.language_model)
    return start.model_copy(update={"path": path, "revision": revision})


def _cost(log_prob_B: Tensor, settings: Settings) -> Tensor:
    if settings.form == "nll":
        return -log_prob_B
    return -logsigmoid(settings.beta * log_prob_B)
