"""The `shipway` command. Modules here import nothing heavy at their top: `shipway --help` answers in 0.2 s."""
