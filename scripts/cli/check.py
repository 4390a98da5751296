"""`sluicegate check`: is this configuration good, without starting anything."""

from scripts.cli.common import ConfigOption, fail, load_config


def check(config_file: ConfigOption = None) -> None:
    """Validate the configuration, its policies and its redaction rules; exit 2 with every problem."""
    gateway = load_config(config_file)
    from addons.services import Rules  # here: it takes a second, which `--help` need not wait for
    from policy.problems import Invalid

    try:
        rules = Rules.load(gateway)
    except Invalid as error:
        fail("\n".join(["the policy can't be used:", *map(str, error.problems)]))
    count = len(gateway.policies)
    files = f"{count} policy file{'s' if count != 1 else ''}"
    print(f"sluicegate: {gateway.file} is good: {files}, policy {rules.policies.hash[:19]}")
