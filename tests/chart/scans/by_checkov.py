"""Prints what checkov finds in files with Kubernetes objects: a line of JSON for each, [file, check, resource].

Run by checkov's own Python, which has none of our packages. Each file is checked apart from the others, as the objects
of one release: checkov would look for the NetworkPolicy of a pod in all files. One process does it for all files,
because checkov takes longer to start than to check one.
"""

import json
import sys

from checkov.kubernetes.runner import Runner
from checkov.runner_filter import RunnerFilter

for file in sys.argv[1:]:
    report = Runner().run(root_folder=None, files=[file], runner_filter=RunnerFilter(framework=["kubernetes"]))
    if report.parsing_errors or not report.passed_checks:
        sys.exit(f"checkov cannot read {file}: {report.parsing_errors}")
    for record in report.failed_checks:
        sys.stdout.write(json.dumps([file, record.check_id, record.resource]) + "\n")
