"""Terms that change nothing: with coefficient 0 to the bit, on a frozen trunk refused."""

import pytest
from fitting import assert_same, learnable, run_fit, settings

from tamis.errors import ConfigError
from tamis.train.assemble import assemble
from tamis.train.fit import checked
from tamis.train.record import card_rows

OFF = {"coefficient": 0.0}


@pytest.fixture(scope="module")
def plain(llama, tmp_path_factory):
    """The weights of a run without terms, in shared rows."""
    train = settings(max_steps=3, compute__rows="shared")
    return run_fit(tmp_path_factory.mktemp("plain"), learnable(16), model=llama, train=train)[1]


@pytest.mark.parametrize(
    "terms",
    [
        {"grm": OFF},
        {"grm": {**OFF, "form": "dpo_reference"}},
        {"simcse": OFF},
        {"swav": OFF},
        {"swav": {**OFF, "on": "differences"}},
        {"pcrm": OFF, "centring": OFF},
    ],
    ids=str,
)
def test_terms_with_coefficient_0_are_plain_training_bit_for_bit(llama, plain, tmp_path, terms):
    train = settings(max_steps=3, compute__rows="shared", objective__terms=terms)
    _, weights = run_fit(tmp_path, learnable(16), model=llama, train=train)
    assert_same(weights, plain, atol=0, rtol=0)


def test_what_a_term_with_coefficient_0_would_need_is_not_made():
    terms = {"grm": {**OFF, "language_model": "org/other"}, "swav": OFF, "centring": {}}
    assembled = assemble(settings(objective__terms=terms))
    assert not assembled.needs
    assert not assembled.reads
    assert not assembled.modules
    assert list(assembled.columns) == ["centring"]
    report = {"num_pairs": 16, "num_steps": 3}
    assert card_rows(assembled, report, seed=0)["loss"] == "bradley_terry and centring"


def test_a_term_with_coefficient_0_is_checked_all_the_same():
    with pytest.raises(ConfigError, match=r"unknown key 'train\.objective\.terms\.grm\.alpha'"):
        assemble(settings(objective__terms={"grm": {**OFF, "alpha": 0.5}}))


def test_half_a_revision_of_a_model_that_is_read_is_named():
    with pytest.raises(ConfigError, match=r"terms\.grm: model 'org/other@': expected PATH or"):
        assemble(settings(objective__terms={"grm": {"language_model": "org/other@"}}))


def test_a_base_loss_and_terms_of_coefficient_0_minimise_nothing():
    train = settings(objective__base_coefficient=0.0, objective__terms={"centring": OFF})
    with pytest.raises(ConfigError, match="base_coefficient is 0, and so is that of every term"):
        assemble(train)


@pytest.mark.parametrize("name", ["grm", "simcse", "swav"])
def test_terms_of_the_trunk_are_refused_where_it_is_frozen(llama, tmp_path, name):
    train = settings(lora__part="head", objective__terms={"centring": {}, name: {}})
    said = rf"train\.objective\.terms\.{name} acts on the trunk alone, and lora\.part is head"
    with pytest.raises(ConfigError, match=said):
        checked(train, model=llama)
    with pytest.raises(ConfigError, match=said):
        run_fit(tmp_path, learnable(8), model=llama, train=train)
    assert not list(tmp_path.iterdir())


def test_terms_of_scores_train_a_head_alone(llama):
    terms = {"centring": {}, "pcrm": {}, "grm": OFF}
    assert checked(settings(lora__part="head", objective__terms=terms), model=llama).needs == {}


@pytest.mark.parametrize("name", ["simcse", "swav"])
@pytest.mark.parametrize(("micro", "told"), [(None, None), (4, None), (2, "of 2 pairs")])
def test_a_report_warns_where_few_texts_are_compared(llama, tmp_path, name, micro, told):
    train = settings(
        batch_size=8,
        max_steps=1,
        objective__terms={name: {}},
        compute__micro_batch_size=micro,
    )
    report, _ = run_fit(tmp_path, learnable(16), model=llama, train=train)
    if told is None:
        assert "warnings" not in report
    else:
        (warning,) = report["warnings"]
        assert warning.startswith(f"train.objective.terms.{name} compares texts within a part")
        assert told in warning


def test_small_parts_are_no_matter_where_nothing_is_compared(llama, tmp_path):
    train = settings(
        batch_size=8, max_steps=1, objective__terms={"grm": {}}, compute__micro_batch_size=1
    )
    report, _ = run_fit(tmp_path, learnable(16), model=llama, train=train)
    assert "warnings" not in report
