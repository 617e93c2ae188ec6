"""What a compression keeps: fidelity metrics, baselines and reports."""
