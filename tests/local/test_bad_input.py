"""Bad input as a user types it: one line (where, what was given, what is allowed, what to do), the exit code, no
traceback, the same in `--json`, and nothing published. Real commands, a real store.

A new mistake is a line in one of the tables. What needs a served model or a disk of its own stands in
`test_bad_surroundings.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fixtures.bad_input import (
    JOB,
    ROWS,
    SIDED,
    Case,
    Place,
    folder,
    parquet,
    truncated_bzip2,
    truncated_gzip,
)

RUN = "run train_and_deploy --local --param name=bot data=rows.csv"
PLAN = RUN.replace(
    "--local", "--local --dry-run"
)  # checks what a run checks first, without a process that gets ready to host it
STEP = "run train_and_deploy --local --param name=bot preset=quick"

COMMAND_LINE = [
    Case("no place to run", "run train_and_deploy", ("say where", "--local", "--kfp URL")),
    Case("pipeline misspelt", "run train_and_deplyo --local",
         ("'train_and_deplyo'", "did you mean 'train_and_deploy'")),
    Case("pipeline is no name", "run :x --local", ("':x'", "expected one of file.py:function")),
    Case("pipeline file with a syntax error", "run p.py:x --local", ("p.py does not import: SyntaxError",),
         {"p.py": "def x(:\n"}),
    Case("pipeline file that raises", "run p.py:x --local", ("p.py does not import: ValueError: boom",),
         {"p.py": "raise ValueError('boom')\n"}),
    Case("pipeline file without a pipeline", "run p.py:x --local", ("no pipeline 'x'", "it has none"),
         {"p.py": "x = 1\n"}),
    Case("params file is a list", f"{RUN} -f p.yaml", ("p.yaml", "expected a mapping", "got 'list'"),
         {"p.yaml": "- a\n"}),
    Case("params file is a folder", f"{RUN} -f p.yaml", ("p.yaml", "cannot be read", "directory"), {"p.yaml": folder}),
    Case("params file is no YAML", f"{RUN} -f p.yaml", ("p.yaml", "neither YAML nor JSON", "line 2"),
         {"p.yaml": "a: [\n"}),
    Case("unknown option", f"{RUN} --freshh", ("no such option: --freshh", "--fresh", "shipway run --help")),
    Case("compile into a folder below a file", "compile train_and_deploy --out rows.csv/x.yaml",
         ("rows.csv", "give a path")),
    Case("compile onto a folder", "compile train_and_deploy --out d.yaml", ("d.yaml", "Is a directory"),
         {"d.yaml": folder}),
    Case("compile for a malformed registry", "compile train_and_deploy --registry https://X",
         ("'https://X'", "host[:port]")),
    Case("negative limit", "runs list --limit -1",
         ("--limit", "greater than or equal to 1", "shipway runs list --help")),
]  # fmt: skip

PARAMETERS = [
    Case("unknown parameter", f"{PLAN} epoch=3",
         ("epoch: unknown", "expected one of name, data", "did you mean 'epochs'")),
    Case("no name", "run train_and_deploy --local --param data=rows.csv", ("name: missing", "needs name=...")),
    Case("a word for a number", f"{PLAN} epochs=many", ("epochs: got 'many', expected a whole number",)),
    Case("a truth value for a number", f"{PLAN} -f p.yaml", ("epochs: got True, expected a whole number",),
         {"p.yaml": "epochs: true\n"}),
    Case("half an epoch in a file", f"{PLAN} -f p.yaml", ("epochs: got 2.7, expected a whole number",),
         {"p.yaml": "epochs: 2.7\n"}),
    Case("a number for a name", "run train_and_deploy --local -f p.yaml", ("name: got 17, expected text", "quotes"),
         {"p.yaml": "name: 17\ndata: rows.csv\n"}),
    Case("negative workers", f"{PLAN} workers=-1", ("training.workers", "at least 0", "got -1")),
    Case("one worker of multi_worker", f"{PLAN} strategy=multi_worker workers=1", ("at least 2", "raise workers")),
    Case("strategy misspelt", f"{PLAN} strategy=horovdo", ("training.strategy", "'horovod'", "got 'horovdo'")),
    Case("preset misspelt", f"{PLAN} preset=quik", ("'quik'", "expected one of default, demo", "did you mean 'quick'")),
    Case("recipe misspelt", f"{PLAN} recipe=intent", ("'intent'", "did you mean 'intents'")),
    Case("recipe that is not there", f"{PLAN} recipe=nope:x", ("'nope:x'", "No module named 'nope'", "PYTHONPATH")),
    Case("code without the recipe's module", f"{PLAN} recipe=minee:x code=.",
         ("code: it holds no module 'minee'", "expected one of mine", "did you mean 'mine'"), {"mine.py": "x = 1\n"}),
    Case("code that nothing names", f"{PLAN} code=.", ("code: it holds nothing that is named", "recipe=mine:NAME"),
         {"mine.py": "x = 1\n"}),
    Case("code that is a source distribution", f"{PLAN} recipe=m:x code=m-1.0.tar.gz",
         ("code: 'm-1.0.tar.gz' is no wheel", "pip wheel --no-deps -w dist ."), {"m-1.0.tar.gz": "x"}),
    Case("code with half a hash", f"{PLAN} recipe=m:x code=s3://b/m-1.0-py3-none-any.whl#sha256=12",
         ("code: '12' is no sha256", "64 hexadecimal digits")),
    Case("overrides that are a list", f"{PLAN} overrides=[1]", ("overrides: got '[1]', expected a JSON object",)),
    Case("overrides of no section", f"{PLAN} overrides.trainning.epochs=1",
         ("overrides.trainning", "did you mean 'training'")),
    Case("overrides of no field", f"{PLAN} overrides.training.batchsize=8",
         ("training.batchsize", "did you mean 'batch_size'")),
    Case("a number out of range", f"{PLAN} overrides.training.params.dropout=7",
         ("params.dropout", "less than 1", "got 7")),
    Case("a learning rate of NaN", f"{PLAN} overrides.training.params.learning_rate=.nan", ("learning_rate", "nan")),
    Case("a threshold of NaN", f"{PLAN} overrides.promotion.thresholds.accuracy=.nan",
         ("accuracy", "finite", "got nan")),
    Case("a threshold in percent", f"{PLAN} overrides.promotion.thresholds.accuracy=95",
         ("got 95", "a share from 0 to 1")),
    Case("a metric misspelt", f"{PLAN} overrides.promotion.thresholds.acuracy=0.9",
         ("'acuracy'", "did you mean 'accuracy'")),
    Case("a negative deadline", f"{PLAN} overrides.training.deadline_s=-5",
         ("deadline_s", "at least 1", "-5")),
    Case("fractions that leave nothing", f"{PLAN} overrides.dataset.eval_fraction=0.9",
         ("eval_fraction 0.9", "below 1")),
    Case("an empty search space", f"{PLAN} overrides.sweep.parameters.dropout=[]",
         ("needs a list of values", "dropout")),
    Case("a search over no parameter", f"{PLAN} overrides.sweep.parameters.dropuot=[0.1]", ("did you mean 'dropout'",)),
    Case("an expression misspelt", f"{PLAN} 'overrides.sweep.parameters.dropout=uniforn(0, 1)'",
         ("did you mean 'uniform'",)),
    Case("a space without end", f"{PLAN} 'overrides.sweep.parameters.dropout=uniform(0, inf)'",
         ("uniform(0, inf)", "low, high")),
    Case("an algorithm misspelt", f"{PLAN} overrides.sweep.algorithm=tpee", ("'tpee'", "did you mean 'tpe'")),
    Case("a name with a slash", f"{PLAN} name=a/b", ("got 'a/b'", "lower case letters", "did you mean 'a-b'")),
    Case("a name in capitals", f"{PLAN} name=MyBot", ("got 'MyBot'", "did you mean 'mybot'")),
    Case("a name of 200 characters", f"{PLAN} name={'a' * 200}", ("expected up to 40", "got 'aaa", "did you mean")),
    Case("a key twice on the command line", f"{PLAN} 'overrides.training={{epochs: 1, epochs: 2}}'",
         ("--param overrides.training", "'epochs' stands twice", "leave one of them")),
    Case("a truth value for a column", f"{PLAN} overrides.dataset.label_column=on",
         ("dataset.label_column", "got True", "quotes make text")),
    Case("an unknown executor", RUN, ("SHIPWAY_EXECUTOR", "'kubernets'", "expected process", "unset it"),
         env={"SHIPWAY_EXECUTOR": "kubernets"}),
]  # fmt: skip

DATA = [
    Case("no such file", f"{RUN} data=row.csv", ("row.csv", "no such file", "did you mean 'rows.csv'")),
    Case("an empty folder", f"{RUN} data=d.csv", ("d.csv", "it is empty", "expected .csv"), {"d.csv": folder}),
    Case("an unknown format", f"{RUN} data=rows.xlsx", ("unsupported format '.xlsx'", "expected .csv"),
         {"rows.xlsx": "x"}),
    Case("an empty file", f"{RUN} data=e.csv", ("e.csv' is empty", "expected a header"), {"e.csv": ""}),
    Case("a missing column", f"{RUN} label_column=lable", ("label_column: no column 'lable'", "did you mean 'label'")),
    Case("one column for both", f"{RUN} input_column=label", ("label_column", "must differ", "got label")),
    Case("a column twice", f"{RUN} data=t.csv", ("'text' stands in the header twice", "rename"),
         {"t.csv": "text,label,text\na,b,c\n"}),
    Case("a broken gzip", f"{RUN} data=r.csv.gz", ("r.csv.gz", "cannot be read"), {"r.csv.gz": truncated_gzip()}),
    Case("a broken bzip2", f"{RUN} data=r.csv.bz2", ("r.csv.bz2", "cannot be read"), {"r.csv.bz2": truncated_bzip2()}),
    Case("no gzip", f"{RUN} data=r.csv.gz", ("r.csv.gz", "Not a gzipped file"), {"r.csv.gz": ROWS}),
    Case("a link to nothing", f"{RUN} data=d", ("'b.csv' is a link to '/nowhere/b.csv'", "fetch or remove it"),
         {"d/a.csv": ROWS, "d/b.csv": lambda path: path.symlink_to("/nowhere/b.csv")}),
    Case("a name that is no UTF-8", f"{RUN} data=caf\udce9.csv",
         ("dataset.data", "UTF-8", "rename a file", "caf\\udce9.csv")),
    Case("an empty compressed file among others", f"{RUN} data=d", ("'b.csv.gz' has no bytes", "copy it again"),
         {"d/a.csv": ROWS, "d/b.csv.gz": b""}),
    Case("a CSV called Parquet", f"{RUN} data=r.parquet", ("cannot be read as Parquet",), {"r.parquet": ROWS}),
    Case("a list column", f"{RUN} data=r.parquet", ("input_column", "List(String)", "cast it"),
         {"r.parquet": parquet(text=[["a"], ["b"]], label=["x", "y"])}),
    Case("UTF-16", f"{RUN} data=u.csv", ("u.csv", "UTF-16", "iconv"), {"u.csv": ROWS.encode("utf-16")}),
    Case("a binary file", f"{RUN} data=b.csv", ("b.csv", "NUL bytes", "UTF-8"), {"b.csv": bytes(range(256))}),
    Case("a JSON array", f"{RUN} data=a.json", ("one JSON array", "jq"), {"a.json": '[{"text": "a"}]'}),
    Case("a pipe", f"{RUN} data=f.csv", ("f.csv", "neither a file nor a folder"), {"f.csv": os.mkfifo}),
    Case("a path of 5,000 characters", f"{RUN} data={'x' * 5000}.csv", ("File name too long",)),
    Case("an unknown scheme", f"{RUN} data=ftp://host/rows.csv", ("unknown scheme 'ftp'", "s3://")),
    Case("an address that is gone", f"{RUN} data={{site}}/gone.csv", ("404 Not Found", "no such file there")),
    Case("an address that leads to a login", f"{RUN} data={{site}}/moved.csv", ("a web page", "download it yourself")),
    Case("an address without a host", f"{RUN} data=http://", ("not an address", "expected http://host")),
    Case("an address with a blank", f"{STEP} 'data={{site}}/my rows.csv'", ("not an address", "it holds ' '", "%20")),
    Case("a missing bucket", f"{RUN} data=s3://nobucket/rows.csv", ("s3://nobucket: no such bucket", "create it")),
    Case("a missing object", f"{RUN} data=s3://shipway/gone/rows.csv", ("gone/rows.csv", "no such object")),
]  # fmt: skip

# Only the step that reads the rows can see these; tests/local/test_prep_bad_input.py has the rest of its kind.
ROWS_THEMSELVES = [
    Case("a header only", f"{STEP} data=h.csv", ("h.csv' has a header but no rows",),
         {"h.csv": "text,label\n"}, in_step=True),
    Case("one class", f"{STEP} data=o.csv", ("all 80 rows have the label 'on'", "at least two"),
         {"o.csv": ROWS.replace(",off", ",on")}, in_step=True),
    Case("not UTF-8, and no labels", f"{STEP} data=l.csv",
         ("bad", "not UTF-8: byte 0xe9", "max_bad_fraction", "quarantine"),
         {"l.csv": ROWS.replace("lamp", "caf\xe9").encode("latin-1")}, in_step=True),
    Case("a label that only test has", f"{STEP} data=s.csv split_column=side overrides.dataset.on_unseen_label=error",
         ("no row in train: 'odd'", "on_unseen_label"),
         {"s.csv": SIDED + "lamp,on,eval\nx,odd,test\n"}, in_step=True),
    Case("a file cut in its middle", f"{STEP} data=c.csv", ("c.csv", "in the middle of a record", "copy it again"),
         {"c.csv": ROWS + "switch on la"}, in_step=True),
    Case("one class in train", f"{STEP} data=s.csv split_column=side",
         ("all 40 rows of train have the label 'on'", "at least two"),
         {"s.csv": SIDED.replace(",off", ",on") + "lamp,off,eval\nlamp,off,test\n"}, in_step=True),
    Case("no row in eval", f"{STEP} data=s.csv split_column=side",
         ("no row stands in eval (40 in train, 1 in test)", "name some rows 'eval'"),
         {"s.csv": SIDED + "lamp,on,test\n"}, in_step=True),
]  # fmt: skip

MANIFESTS = [
    Case("no manifest", "job run gone.yaml", ("manifest gone.yaml: no such file",)),
    Case("a manifest that is a folder", "job run d", ("manifest d: Is a directory", "expected a YAML file"),
         {"d": folder}),
    Case("a manifest that is no text", "job run m.yaml", ("m.yaml: not UTF-8 text",), {"m.yaml": b"\xff\xfe\0"}),
    Case("two manifests in a file", "job run m.yaml", ("got 2", "a file of its own"), {"m.yaml": f"{JOB}---\n{JOB}"}),
    Case("a manifest without spec", "job run m.yaml", ("spec: expected a mapping, got None",),
         {"m.yaml": JOB.split("spec:")[0]}),
    Case("an unknown kind", "job run m.yaml", ("TFJbo", "did you mean 'kubeflow.org/v1 TFJob'"),
         {"m.yaml": JOB.replace("TFJob", "TFJbo")}),
    Case("a name that is a path", "job run m.yaml", ("'../x'", "DNS-1035"),
         {"m.yaml": JOB.replace("name: bad", "name: ../x")}),
    Case("replicas in words", "job run m.yaml", ("Worker.replicas", "whole number", "'two'"),
         {"m.yaml": JOB.replace("replicas: 1", "replicas: two")}),
    Case("an image of nobody's", "job run m.yaml", (".image", "'x/y:1'", "SHIPWAY_ENVIRONMENTS"),
         {"m.yaml": JOB.replace("ghcr.io/shipway/python-tensorflow:0.1.0", "x/y:1")}),
    Case("a deadline of no time", "job run m.yaml --deadline nan", ("--deadline: got nan", "above 0"), {"m.yaml": JOB}),
    Case("fewer than no retries", "job run m.yaml --retries -1", ("--retries", "greater than or equal to 0"),
         {"m.yaml": JOB}),
]  # fmt: skip

NAMES = [
    Case("an unknown model", "models show nope", ("'nope'", "no model is registered yet")),
    Case("a model's name that is a path", "models show ../x", ("'../x'", "no model is registered yet")),
    Case("collecting an unknown model", "store gc --name nope", ("'nope'",)),
    Case("collecting by no time", "store gc --older-than nan", ("grace", "nan")),
    Case("an unknown endpoint", "predict nope hello", ("'nope'", "none is running")),
    Case("a component misspelt", "describe evaluate.modle", ("did you mean 'evaluate.model'",)),
]  # fmt: skip

SURROUNDINGS = [
    Case("a home that is a file", "store start", ("SHIPWAY_HOME", "rows.csv", "set SHIPWAY_HOME"),
         env={"SHIPWAY_HOME": "{folder}/rows.csv"}),
    Case("a run in a home below a file", RUN, ("SHIPWAY_HOME", "rows.csv/x", "set SHIPWAY_HOME"),
         env={"SHIPWAY_HOME": "{folder}/rows.csv/x"}),
    Case("a store of an unknown scheme", "models list", ("'gs://x'", "s3://bucket"), env={"SHIPWAY_STORE": "gs://x"}),
    Case("wrong credentials", "models list", ("refuses the credentials", "check AWS_ACCESS_KEY_ID"),
         env={"AWS_SECRET_ACCESS_KEY": "wrong"}),
    Case("no credentials", "models list", ("no credentials", "set AWS_ACCESS_KEY_ID"), env={"AWS_ACCESS_KEY_ID": ""}),
    Case("an endpoint that is no address", "models list", ("AWS_ENDPOINT_URL: got 'localhost'", "http://127.0.0.1"),
         env={"AWS_ENDPOINT_URL": "localhost"}),
    Case("nobody at the endpoint", "models list", ("nobody answers at http://127.0.0.1:9", "shipway store start"),
         env={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, code=1),
]  # fmt: skip

CASES = [*COMMAND_LINE, *PARAMETERS, *DATA, *ROWS_THEMSELVES, *MANIFESTS, *NAMES, *SURROUNDINGS]


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_a_mistake_is_one_line_and_nothing_is_published(place: Place, case: Case, tmp_path: Path) -> None:
    place.refuse(case, tmp_path)
