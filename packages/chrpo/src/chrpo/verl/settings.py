"""The `chrpo` section of a verl configuration, read as the settings of CHRPO.

section_settings(config).accuracy_slack
"""
# verl has an environment of its own, with other versions than the type checker's.
# pyright: reportMissingImports=false

from omegaconf import DictConfig, OmegaConf

from chrpo.settings import SectionSettings

NAME = "chrpo"


def section_settings(config: DictConfig) -> SectionSettings:
    """The settings of the `chrpo` section.

    Args:
        config: Configuration of the whole run.

    Raises:
        DataError: a name is unknown, or a value is out of range.
    """
    section = OmegaConf.to_container(OmegaConf.create(config.get(NAME) or {}), resolve=True)
    return SectionSettings.named(section)  # type: ignore[arg-type]
