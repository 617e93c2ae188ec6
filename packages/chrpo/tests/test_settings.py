"""One settings class: flags, TRL's configuration and a section of a file have its names and defaults."""

from dataclasses import fields
from operator import truth

import pytest

from chrpo import CHRPOSettings, TrainSettings
from chrpo.cli import cli
from chrpo.errors import DataError
from chrpo.objective import choose
from chrpo.settings import SectionSettings


def test_every_flag_of_train_has_the_default_of_its_setting():
    flags = {parameter.name: parameter for parameter in cli.commands["train"].params}
    settings = TrainSettings()
    for each in fields(TrainSettings):
        if each.metadata.get("flag") is not False:
            assert flags[each.name].default == getattr(settings, each.name), each.name


def test_the_trl_configuration_has_every_setting_with_its_default_and_its_help(tmp_path):
    pytest.importorskip("trl")
    from chrpo.trl import CHRPOConfig

    args = {"max_steps": 1, "per_device_train_batch_size": 10, "use_cpu": True, "report_to": "none"}
    config, settings = CHRPOConfig(str(tmp_path), **args), CHRPOSettings()
    found = {each.name: each for each in fields(CHRPOConfig)}
    assert found["output_dir"] is fields(CHRPOConfig)[0]
    for each in fields(CHRPOSettings):
        assert getattr(config, each.name) == getattr(settings, each.name)
        assert found[each.name].metadata["help"]
    assert config.gains == settings.gains


def test_settings_come_from_a_section_of_a_file_with_old_names_too():
    section = {"accuracy_slack": 0.01, "price_cap": 10, "on_policy_weight": 0.25}
    settings = CHRPOSettings.named(section)
    assert (settings.accuracy_slack, settings.gains.cap, settings.gains.proportional) == (0.01, 10, 50)
    old = {"eps": 0.01, "gains": {"cap": 10}, "response_policy_mix": 0.25}
    assert CHRPOSettings.named(old) == settings
    for unknown in ({"epsilon": 0.01}, {"gains": {"kp": 3}}):
        with pytest.raises(DataError, match=r"known are objective, .*accuracy_slack, .*price_proportional"):
            CHRPOSettings.named(unknown)


def test_parts_are_added_by_the_flag_with():
    flags = {parameter.name: parameter for parameter in cli.commands["train"].params}
    assert flags["adding"].opts == ["--with"]
    settings = CHRPOSettings.named({"objective": "l1", "with": ["solve_rate", "clamp_correct", "solve_rate"]})
    assert settings.adding == ["clamp_correct", "solve_rate"]
    assert settings.chosen().parts == {"clamp_correct", "solve_rate"}


def test_the_objective_that_settings_describe_has_all_of_them():
    settings = CHRPOSettings(
        objective="l1", advantage_scale="batch", length_unit="token", length_weight=0.002, control_weight=2
    )
    assert settings.chosen() == choose(
        "l1", advantage_scale="batch", length_unit="token", length_weight=0.002, control_weight=2
    )
    assert CHRPOSettings(objective="gfpo", keep_share=0.5).chosen() == choose("gfpo", keep_share=0.5)
    assert CHRPOSettings(objective="laconic", token_budget=9).chosen() == choose("laconic", token_budget=9)
    assert CHRPOSettings(objective="adaptthink").chosen(shortest=0.4) == choose("adaptthink", shortest=0.4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"objective": "grpo", "adding": ["solve_rate"]}, "solve_rate would change nothing"),
        ({"advantage_scale": "prompt"}, "advantage_scale must be none, group or batch"),
        ({"keep_share": 0.5}, "gfpo and gfpo_efficiency alone"),
        ({"token_budget": 50.0}, "objective chrpo has no token_budget"),
        ({"objective": "laconic", "token_budget": float("nan")}, "token_budget must be a finite number"),
        ({"on_policy_weight": 2}, "on_policy_weight must be in"),
        ({"accuracy_slack": float("inf")}, "accuracy_slack must be a finite number"),
        ({"objective": "grpo", "price_cap": 40.0}, "cap: this objective has no price"),
        ({"objective": "grpo", "price_start": 3.0}, "start: this objective has no price"),
        ({"price_start": 0.5}, "first price must be within the smallest and the largest, 1 to 30; got 0.5"),
        ({"price_ema_decay": 1.0}, "ema_decay must be in"),
        ({"objective": "ppo"}, "unknown objective 'ppo'"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(change, words):
    with pytest.raises(DataError, match=words):
        CHRPOSettings(**change)


@pytest.mark.parametrize(
    ("given", "form"), [({}, "boxed"), ({"answer_format": "any"}, "any"), ({"answer_format": "operator:truth"}, truth)]
)
def test_a_section_names_the_form_of_the_answer_and_the_tags_of_the_thinking(given, form):
    section = SectionSettings.named({**given, "thinking_format": "thought", "eps": 0.1})
    assert (section.form, section.thinking_format, section.accuracy_slack) == (form, "thought", 0.1)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("box", "format 'box' is unknown; name one of boxed, answer-tag, any"),
        ("operator:nothing", "chrpo.answer_format 'operator:nothing': module operator has no function nothing"),
    ],
)
def test_a_form_that_a_section_cannot_have_is_refused(form, message):
    with pytest.raises(DataError, match=message):
        _ = SectionSettings(answer_format=form).form


def test_a_trl_script_can_parse_the_settings_from_its_command_line(tmp_path):
    pytest.importorskip("trl")
    from trl import TrlParser

    from chrpo.trl import CHRPOConfig

    line = f"--output_dir {tmp_path} --max_steps 2 --per_device_train_batch_size 10 --use_cpu true --report_to none"
    line += " --eps .1 --without mode constraint"
    (config,) = TrlParser(CHRPOConfig).parse_args_and_config(line.split())
    assert (config.accuracy_slack, config.without) == (0.1, ["constraint", "mode"])
