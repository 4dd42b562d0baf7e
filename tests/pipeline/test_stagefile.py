"""`dvlite.yaml`: what it means, and that what is wrong is named with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import MissingError, PipelineError
from dvlite.pipeline.graph import Graph, select
from dvlite.pipeline.stage import Dep, Out, OutKind, Param, Pipeline
from dvlite.pipeline.stagefile import load


def pipeline(text: str, **files: str) -> Pipeline:
    """What a `dvlite.yaml` says, beside other files (`params_yaml` is params.yaml)."""
    stored = {name.replace("_", ".").encode(): data for name, data in files.items()}
    stored[b"dvlite.yaml"] = text

    def read(path: str) -> bytes | None:
        found = stored.get(path.encode())
        return found.encode() if found is not None else None

    return load(read)


def refused(text: str, **files: str) -> str:
    with pytest.raises(PipelineError) as caught:
        Graph.of(pipeline(text, **files))
    return f"{caught.value} ({caught.value.hint})"


def test_a_stage_has_all_its_parts() -> None:
    made = pipeline(
        """
stages:
  train:
    desc: makes the model
    wdir: src
    cmd:
      - python train.py
      - echo done
    deps:
      - train.py
      - ../data/x.csv
      - path: ../old.csv
        rev: v1.0
    params:
      - lr
      - net.depth
      - ../other.toml:
          - a
          - b.c
      - whole.json:
    outs:
      - ../model.pt:
          cache: false
          desc: the model
      - logs:
          persist: true
    metrics:
      - score.json:
          cache: false
    plots:
      - loss.csv:
          x: step
          y: loss
    env:
      SEED: 1
    frozen: true
    always_changed: yes it is
""".replace("yes it is", "true")
    )
    stage = made.stages["train"]
    assert stage.commands == ("python train.py", "echo done")
    assert (stage.wdir, stage.desc, stage.line) == ("src", "makes the model", 3)
    assert stage.deps == (Dep("src/train.py"), Dep("data/x.csv"), Dep("old.csv", "v1.0"))
    assert stage.params == (
        Param("src/params.yaml", ("lr", "net.depth")),
        Param("other.toml", ("a", "b.c")),
        Param("src/whole.json"),
    )
    assert stage.outs == (
        Out("model.pt", cached=False, desc="the model"),
        Out("src/logs", persist=True),
        Out("src/score.json", OutKind.METRIC, cached=False),
        Out("src/loss.csv", OutKind.PLOT, options={"x": "step", "y": "loss"}),
    )
    assert stage.env == {"SEED": "1"} and stage.frozen and stage.always_changed


def test_without_a_file_there_is_no_stage() -> None:
    assert load(lambda path: None) == Pipeline()
    assert pipeline("") == Pipeline()
    assert pipeline("stages:\n") == Pipeline()


def test_names_that_yaml_would_turn_into_something_else_stay_text() -> None:
    made = pipeline("stages:\n  no:\n    cmd: x\n    deps: [no, 2024-01-01, 1.0, ~]\n")
    assert [dep.path for dep in made.stages["no"].deps] == ["no", "2024-01-01", "1.0", "~"]


def test_templates_are_filled_from_params_and_vars() -> None:
    made = pipeline(
        """
vars:
  - out: models
    sizes: [1, 2]
  - more.yaml:deep
stages:
  a:
    cmd: python a.py ${train} --n ${sizes[1]} \\${HOME} ${deep.er} ${flag}
    vars:
      - flag: true
    outs: ["${out}/a-${train.lr}"]
""",
        params_yaml="train: {lr: 1e-3, name: two words, fast: true, slow: false, l: [1, 2]}\n",
        more_yaml="deep: {er: 5}\nother: 1\n",
    )
    assert made.stages["a"].commands == (
        "python a.py --lr 0.001 --name 'two words' --fast --l 1 2 --n 2 ${HOME} 5 true",
    )
    assert made.stages["a"].outs[0].path == "models/a-0.001"


def test_a_matrix_makes_a_stage_of_each_cell() -> None:
    made = pipeline(
        """
stages:
  t:
    matrix:
      net: [cnn, mlp]
      lr: ${rates}
      opt: [{name: sgd}, {name: adam}]
    cmd: run ${item.net} ${item.lr} ${item.opt.name}
    outs: ["${key}.pt"]
""",
        params_yaml="rates: [0.1, 1]\n",
    )
    assert list(made.stages)[:3] == ["t@cnn-0.1-opt0", "t@cnn-0.1-opt1", "t@cnn-1-opt0"]
    assert len(made.stages) == 8
    assert made.stages["t@mlp-1-opt1"].commands == ("run mlp 1 adam",)
    assert made.stages["t@mlp-1-opt1"].outs[0].path == "mlp-1-opt1.pt"
    assert select(made, ["t"]) == list(made.stages)


@pytest.mark.parametrize(
    ("items", "names", "command"),
    [
        ("[us, uk]", ["b@us", "b@uk"], "c us"),
        ("{us: 1, uk: 2}", ["b@us", "b@uk"], "c 1"),
        ("[{a: 1}, {a: 2}]", ["b@0", "b@1"], ""),
    ],
)
def test_foreach_makes_a_stage_of_each_item(items: str, names: list[str], command: str) -> None:
    do = "c ${item.a}" if not command else "c ${item}"
    made = pipeline(f"stages:\n  b:\n    foreach: {items}\n    do:\n      cmd: {do}\n")
    assert list(made.stages) == names
    assert made.stages[names[0]].commands == (command or "c 1",)


def test_anchors_and_merge_keys_are_understood() -> None:
    made = pipeline("""
stages:
  a: &first
    cmd: one
    deps: [x]
  b:
    <<: *first
    cmd: two
""")
    assert made.stages["b"].commands == ("two",) and made.stages["b"].deps == (Dep("x"),)


def test_plots_metrics_and_params_stand_beside_the_stages() -> None:
    made = pipeline("""
metrics: [m.json]
params: [{p.toml: }]
plots:
  - a.csv: {x: step}
  - both: {y: {a.csv: loss, b.csv: loss}}
  - c.csv
""")
    assert made.metrics == ("m.json",) and made.params == (Param("p.toml"),)
    assert [(plot.name, plot.path) for plot in made.plots] == [
        ("a.csv", "a.csv"),
        ("both", ""),
        ("c.csv", "c.csv"),
    ]


ONE = "stages:\n  a:\n    cmd: x\n"
WRONG = [
    ("stages: [1]", "dvlite.yaml:1:9: this has to be a mapping"),
    ("stagse:\n  a: {cmd: x}", "dvlite.yaml:1:1: 'stagse' is not known here (did you mean stages"),
    ("stages:\n  a:\n    comand: x", "dvlite.yaml:3:5: 'comand' is not known here"),
    ("stages:\n  a:\n    deps: [x]", "dvlite.yaml:3:5: the stage a has no cmd"),
    ("stages:\n  a:\n    cmd: ''", "dvlite.yaml:3:10: the cmd of a is empty"),
    ("stages:\n  a b:\n    cmd: x", "dvlite.yaml:2: 'a b' cannot name a stage"),
    ("stages:\n  a: {cmd: x}\n  a: {cmd: x}", "dvlite.yaml:3:3: 'a' is given twice"),
    (ONE + "    frozen: 1", "dvlite.yaml:4:13: this has to be true or false"),
    (ONE + "    env: {A-B: 1}", "'A-B' cannot name an environment variable"),
    (ONE + "    deps: [[x]]", "dvlite.yaml:4:12: this has to be text"),
    (ONE + "    deps: [{path: x, revision: v1}]", "'revision' is not known here"),
    (ONE + "    deps: [{rev: v1}]", "has no path"),
    (ONE + "    deps: [{path: x, rev: --upload-pack=x}]", "cannot be a revision"),
    (ONE + "    deps: [/etc/passwd]", "leads out of the project"),
    (ONE + "    outs: [../x]", "leads out of the project"),
    (ONE + "    wdir: ..", "leads out of the project"),
    (ONE + "    outs: [.git/hooks/pre-commit]", "belongs to git or dvlite"),
    (ONE + "    outs: [.GIT/config]", "belongs to git or dvlite"),
    (ONE + "    outs: [a/.dvlite/config.toml]", "belongs to git or dvlite"),
    (ONE + '    outs: ["x\\0y"]', "holds a NUL"),
    (ONE + "    outs: [.]", "names no file"),
    (ONE + "    outs: [dvlite.lock]", "cannot be an output"),
    (ONE + "    outs: [a.dvl]", "cannot be an output"),
    (ONE + "    outs: [x, x]", "x is an output of a twice"),
    (ONE + "    outs: [x, x/y]", "x/y, an output of a, is inside x, an output of a"),
    (ONE + "    outs: [x]\n  b: {cmd: x, outs: [x]}", "an output of both a and b"),
    (ONE + "    outs: [x: {chache: true}]", "did you mean cache"),
    (ONE + "    deps: [x]\n    outs: [x]", "a depends on what it makes itself"),
    (
        ONE + "    deps: [y/z]\n    outs: [x]\n  b: {cmd: x, deps: [x], outs: [y]}",
        "dvlite.yaml:2: stages depend on each other: a <- b <- a",
    ),
    (ONE + "    deps: ['${nope}']", "dvlite.yaml:4:12: ${nope} is not known"),
    (ONE + "    deps: ['${no pe}']", "is not a name"),
    ("vars: [nope.yaml]\n" + ONE, "there is no file nope.yaml"),
    ("vars: [{a: 1}, {a: 2}]\n" + ONE, "a is given twice"),
    ("stages:\n  a:\n    matrix: [1]\n    cmd: x", "a matrix is a mapping"),
    ("stages:\n  a:\n    matrix: {n: []}\n    cmd: x", "a list that is not empty"),
    ("stages:\n  a:\n    matrix: {n: [x y]}\n    cmd: x", "cannot name a stage"),
    ("stages:\n  a:\n    matrix: {n: [x, x]}\n    cmd: x", "two stages are named a@x"),
    ("stages:\n  a:\n    foreach: [1]\n    cmd: x", "stands beside foreach"),
    ("stages:\n  a:\n    foreach: [1]", "belong together"),
    ("stages:\n  a:\n    foreach: 1\n    do: {cmd: x}", "a list or a mapping"),
    ("stages: {a: {cmd: !!python/name:os.system x}}", "tag"),
    ("a: 1\n---\nb: 2", "a second document"),
    ("a: [1", "this is not YAML"),
    ("a: *x", "no anchor &x"),
    ("a: &x [*x]", "no anchor &x"),
    ("[" * 100, "nested too deeply"),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[text[-30:] for text, _ in WRONG])
def test_what_is_wrong_is_named_with_its_place(text: str, said: str) -> None:
    assert said in refused(text)


def test_a_matrix_cannot_grow_without_a_bound() -> None:
    axes = "".join(f"      a{number}: [{','.join(map(str, range(50)))}]\n" for number in range(5))
    assert "10,000" in refused(f"stages:\n  a:\n    matrix:\n{axes}    cmd: x\n")


def test_aliases_count_as_often_as_they_are_used() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "aliases counted" in refused("\n".join(lines))


def test_long_text_cannot_be_used_without_a_bound() -> None:
    aliases = ",".join(["*a"] * 1000)
    assert "aliases counted" in refused(f"meta: [&a {'x' * (1 << 20)}, {aliases}]")
    cells = "stages:\n  a:\n    matrix: {n: '${n}'}\n    cmd: echo ${big} ${item.n}\n"
    numbers = ",".join(map(str, range(600)))
    params = f"n: [{numbers}]\nbig: {'x' * (1 << 19)}\n"
    assert "more than 256 MiB of text" in refused(cells, params_yaml=params)


def test_only_text_and_numbers_fit_into_text() -> None:
    text = ONE + "    deps: ['${a}']"
    assert "${a} is a mapping" in refused(text, params_yaml="a: {b: 1}")
    assert "${a} is a list" in refused(text, params_yaml="a: [b]")
    assert "${a} is null" in refused(text, params_yaml="a:")


def test_stages_come_after_what_they_need() -> None:
    made = pipeline("""
stages:
  report: {cmd: x, deps: [out], params: [{made.yaml: [a]}]}
  train: {cmd: x, deps: [data/part/one], outs: [out/model]}
  prepare: {cmd: x, deps: [raw, {path: out/model, rev: v1}], outs: [data]}
  tune: {cmd: x, outs: [made.yaml]}
  other: {cmd: x}
""")
    graph = Graph.of(made)
    assert graph.order == ("prepare", "train", "tune", "report", "other")
    assert graph.upstream["report"] == ("train", "tune")
    assert graph.ancestors(["train"]) == {"train", "prepare"}
    assert graph.descendants(["prepare"]) == {"prepare", "train", "report"}
    assert graph.sorted({"report", "prepare"}) == ["prepare", "report"]


def test_targets_are_stages_matrices_and_outputs() -> None:
    made = pipeline(ONE + "    outs: [m.pt]\n  b: {foreach: [1, 2], do: {cmd: x}}\n")
    assert select(made, ["m.pt", "b"]) == ["a", "b@1", "b@2"]
    assert select(made, ["b@2"]) == ["b@2"]
    with pytest.raises(MissingError, match="nope"):
        select(made, ["nope"])


def test_a_chain_of_thousands_of_stages_is_ordered() -> None:
    stages = "".join(f"  s{n}: {{cmd: x, deps: [f{n + 1}], outs: [f{n}]}}\n" for n in range(5000))
    assert Graph.of(pipeline("stages:\n" + stages)).order[0] == "s4999"


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        Graph.of(pipeline(text))
    except PipelineError as error:
        assert "dvlite.yaml" in str(error)


@given(
    st.recursive(
        st.sampled_from(["cmd", "deps", "${a}", "${item}", "true", "", "x/y", "../x", "1"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "stages",
                        "a",
                        "cmd",
                        "deps",
                        "outs",
                        "params",
                        "matrix",
                        "foreach",
                        "do",
                        "vars",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=25,
    )
)
def test_any_structure_is_read_or_refused(tree: object) -> None:
    import json

    try:
        Graph.of(pipeline(json.dumps(tree), params_yaml="a: [1, {b: 2}]"))
    except PipelineError as error:
        assert "dvlite.yaml" in str(error)
