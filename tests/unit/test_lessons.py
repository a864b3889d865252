from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import nbclient
import nbformat
import numpy as np
import pytest
import torch
import xarray

from nbtools import lessons
from nbtools.errors import ArrayError, DataError, InputError, NbtoolsError
from nbtools.lessons import CheckError, ClaimError, check, claim, claims_table, collect, hint
from nbtools.lessons.claims import CLAIMS_MIME

NAN = float("nan")


def make_claim(**changes):
    parts = {"source": "Xiao et al. 2023", "figure": 0.9, "ours": 0.87654, "test": True, "verdict": "holds"}
    return claim(changes.pop("statement", "Sinks exist"), **(parts | changes))


def cell_with(*shown, source="shown"):
    outputs = [
        nbformat.v4.new_output("display_data", data=json.loads(json.dumps(item._repr_mimebundle_()))) for item in shown
    ]
    return nbformat.v4.new_code_cell(source, outputs=outputs, execution_count=1)


def save(path, *cells):
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), path)
    return path


@pytest.fixture(autouse=True, scope="module")
def no_setting():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NBTOOLS_CHECKS", raising=False)
        yield


# The room


def test_importing_the_room_loads_neither_torch_nor_xarray_nor_ipython():
    code = "import sys, nbtools.lessons; print({'torch', 'transformer_lens', 'xarray', 'IPython'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_exported_name_exists_and_is_listed_in_order():
    assert all(hasattr(lessons, name) for name in lessons.__all__)
    assert lessons.__all__ == sorted(lessons.__all__)


# Claims


def test_a_claim_that_the_test_bears_out_shows_both_figures():
    assert repr(make_claim()) == "✓ holds: Sinks exist\n  Xiao et al. 2023: 0.9\n  here: 0.877"


@pytest.mark.parametrize(("test", "verdict"), [(False, "holds"), (False, "partly"), (True, "fails")])
def test_a_verdict_against_the_test_is_refused(test, verdict):
    with pytest.raises(ClaimError) as caught:
        make_claim(test=test, verdict=verdict, why="it does")
    assert isinstance(caught.value, NbtoolsError) and isinstance(caught.value, AssertionError)
    for part in ("Sinks exist", "0.877", "0.9", repr(verdict), f"been {not test}", f"is {test}", "state verdict="):
        assert part in str(caught.value)


def test_a_verdict_cannot_be_changed_after_the_measurement():
    with pytest.raises(ClaimError):
        dataclasses.replace(make_claim(), test=False)
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_claim().verdict = "fails"


@pytest.mark.parametrize(("test", "verdict"), [(False, "fails"), (True, "partly")])
def test_fails_and_partly_need_an_explanation(test, verdict):
    with pytest.raises(InputError, match="why="):
        make_claim(test=test, verdict=verdict, why=" ")
    assert make_claim(test=test, verdict=verdict, why="too small").verdict == verdict


def test_an_unknown_verdict_names_the_three():
    with pytest.raises(InputError, match='"holds", "partly" or "fails", got \'true\''):
        make_claim(verdict="true")


@pytest.mark.parametrize(
    "test",
    [np.bool_(True), np.array(True), torch.tensor(True), xarray.DataArray(True), np.float32(0.6) > 0.5],
)
def test_a_test_may_be_any_single_truth_value(test):
    assert make_claim(test=test).test is True


@pytest.mark.parametrize(
    "test", [1, 1.0, None, "True", np.array([True]), torch.tensor([True, True]), np.array(1), [True]]
)
def test_a_test_that_is_not_one_truth_value_is_refused(test):
    with pytest.raises(InputError, match="one truth value"):
        make_claim(test=test)


@pytest.mark.parametrize(
    ("ours", "shown"),
    [
        (0.123456, "0.123"), (1234.5, "1230"), (12, "12"), (1234567, "1234567"), (-0.0, "0"), (1.5e-7, "1.5e-07"),
        (np.float32(0.1), "0.1"), (torch.tensor(2.5), "2.5"), ("none", "none"), (float("inf"), "inf"),
    ],
)  # fmt: skip
def test_ours_is_shown_to_three_significant_digits(ours, shown):
    assert make_claim(ours=ours).ours == shown


def test_the_figure_of_the_source_is_not_rounded():
    assert make_claim(figure=0.98765).figure == "0.98765"


def test_nan_is_no_measurement():
    with pytest.raises(ArrayError, match="NaN"):
        make_claim(ours=np.float64("nan"))


@pytest.mark.parametrize("change", [{"ours": [1]}, {"ours": None}, {"source": ""}, {"statement": " "}, {"figure": ""}])
def test_a_claim_without_its_parts_is_refused(change):
    with pytest.raises(InputError, match=f"{next(iter(change))}"):
        make_claim(**change)


def test_all_text_in_html_is_escaped():
    wild = "<script>alert('&')</script>"
    one = make_claim(statement=wild, source=wild, figure=wild, ours=wild, verdict="partly", why=wild)
    shown = [one, claims_table([one]), hint(wild, wild), check(1, 2, name=wild, hint=wild), check(wild, "a")]
    for item in shown:
        page = item._repr_mimebundle_()["text/html"]
        assert "<script" not in page and "&lt;script&gt;" in page


def test_verdicts_are_told_by_shape_and_word():
    three = [
        make_claim(),
        make_claim(verdict="partly", why="one layer"),
        make_claim(test=False, verdict="fails", why="small"),
    ]
    for shape, item in zip(("✓ holds", "◐ partly", "✗ fails"), three, strict=True):
        assert shape in repr(item) and shape in item.to_html()
        assert all(shape in text for text in (repr(claims_table(three)), claims_table(three).to_html()))
    assert repr(claims_table(three)).endswith("3 claims: 1 holds, 1 partly, 1 fails")


def test_the_table_has_the_named_columns_in_all_forms():
    table = claims_table([make_claim()])
    columns = ["claim", "source", "source's figure", "ours", "verdict", "why"]
    assert [cell.strip() for cell in repr(table).splitlines()[0].strip("|").split("|")] == columns
    assert [cell.strip() for cell in table.to_markdown().splitlines()[0].strip("|").split("|")] == columns
    assert table.to_html().count('<th scope="col"') == len(columns)


def test_markdown_survives_bars_line_breaks_and_tags():
    row = claims_table([make_claim(statement="a|b\n<bos> *x* head_label _y_")]).to_markdown().splitlines()[2]
    assert r"| a\|b \<bos\> \*x\* head_label \_y\_ |" in row


@pytest.mark.parametrize("claims", [[], ["holds"], [make_claim(), None]])
def test_a_table_is_made_of_claims(claims):
    with pytest.raises(InputError, match="claim"):
        claims_table(claims)


def test_the_data_of_a_claim_is_json_with_a_version():
    data = make_claim()._repr_mimebundle_()[CLAIMS_MIME]
    assert json.loads(json.dumps(data)) == data
    assert data["version"] == 1 and [entry["ours"] for entry in data["claims"]] == ["0.877"]


# The ledger


def test_claims_are_collected_by_notebook_and_listed_once(tmp_path):
    first, second = make_claim(), make_claim(statement="Heads move", test=False, verdict="fails", why="small")
    one = save(tmp_path / "01.ipynb", cell_with(first), cell_with(second), cell_with(claims_table([first, second])))
    two = save(tmp_path / "02.ipynb", cell_with(first))
    ledger = collect(tmp_path)
    assert {name: list(table) for name, table in ledger.tables.items()} == {
        one.as_posix(): [first, second],
        two.as_posix(): [first],
    }
    assert ledger.summary == "In all, 3 claims: 2 hold, 1 fails" and len(ledger) == 3


def test_the_ledger_as_markdown_has_a_heading_and_a_table_for_each_notebook(tmp_path):
    save(tmp_path / "01.ipynb", cell_with(make_claim()))
    save(tmp_path / "02.ipynb", nbformat.v4.new_markdown_cell("nothing"))
    lines = collect([tmp_path / "01.ipynb", tmp_path / "02.ipynb"]).to_markdown().splitlines()
    assert sum(line.startswith("## ") for line in lines) == 2
    assert "| Sinks exist | Xiao et al. 2023 | 0.9 | 0.877 | ✓ holds |  |" in lines
    assert "no claims" in lines and lines[-1] == "In all, 1 claim: 1 holds"


def test_a_ledger_shown_in_a_notebook_is_not_counted_again(tmp_path):
    save(tmp_path / "01.ipynb", cell_with(make_claim()))
    ledger = collect(tmp_path)
    save(tmp_path / "02.ipynb", cell_with(ledger))
    assert len(collect(tmp_path / "02.ipynb")) == 0


def test_a_notebook_that_is_missing_damaged_or_not_executed_is_named(tmp_path):
    (tmp_path / "broken.ipynb").write_text("{")
    save(tmp_path / "unrun.ipynb", nbformat.v4.new_code_cell("claim()"))
    (tmp_path / "empty").mkdir()
    for name, reason in {
        "absent.ipynb": "nothing",
        "broken.ipynb": "read",
        "unrun.ipynb": "executed",
        "empty": "none",
    }.items():
        with pytest.raises(DataError, match=rf"(?s){name}.*{reason}"):
            collect(tmp_path / name)


def test_a_notebook_that_stopped_at_an_error_is_named(tmp_path):
    cell = cell_with(make_claim())
    cell.outputs.append(nbformat.v4.new_output("error", ename="ClaimError", evalue="no", traceback=[]))
    with pytest.raises(DataError, match="stopped at ClaimError: no"):
        collect(save(tmp_path / "01.ipynb", cell))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "version 2"),
        ({"claims": [{}]}, "TypeError"),
        ({"claims": [{"verdict": "fails"}]}, "ClaimError"),
    ],
)
def test_stored_claims_that_were_altered_are_refused(tmp_path, change, reason):
    cell = cell_with(make_claim(why="so"))
    data = cell.outputs[0].data[CLAIMS_MIME]
    whole = data["claims"][0]
    data.update(change)
    data["claims"] = [whole | entry if entry else entry for entry in data["claims"]]
    with pytest.raises(DataError, match=reason):
        collect(save(tmp_path / "01.ipynb", cell))


def run_nbval(path):
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", "-p", "no:cacheprovider"]
    command += ["--nbval-cell-timeout=60", path.name]
    return subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    cells = [
        "from nbtools.lessons import check, claim, claims_table, hint\nmass = 0.87654",
        "sinks = claim('Sinks <exist>', source='Xiao et al. 2023', figure=0.9, ours=mass,\n"
        "              test=mass > 0.5, verdict='holds')\nsinks",
        "claims_table([sinks])",
        "def stub(x):\n    raise NotImplementedError\ncheck(stub, [1], inputs=[1])",
        "check(lambda x: object(), [1], inputs=[{'b', 'a'}], hint=['first', 'second'])",
        "check(lambda x: 1 / x, [1], inputs=[0])",
        "hint('first', 'second')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook = nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    path = tmp_path_factory.mktemp("notebooks") / "05_sinks.ipynb"
    nbformat.write(notebook, path)
    return path


def test_an_executed_notebook_gives_its_claims(executed):
    assert [(c.statement, c.ours) for c in collect(executed)] == [("Sinks <exist>", "0.877")]


def test_all_outputs_come_out_the_same_under_strict_nbval(executed):
    done = run_nbval(executed)
    assert done.returncode == 0 and "7 passed" in done.stdout, done.stdout


def test_nbval_sees_a_measurement_that_changed(executed):
    stored = nbformat.read(executed, as_version=4)
    data = stored.cells[1].outputs[0].data
    data[CLAIMS_MIME]["claims"][0]["ours"] = "0.5"
    changed = executed.with_name("changed.ipynb")
    nbformat.write(stored, changed)
    done = run_nbval(changed)
    assert done.returncode == 1 and "mismatch 'application/vnd.nbtools.claims+json'" in done.stdout, done.stdout


# Checks of values

EQUAL = {
    "whole numbers": (3, 3),
    "floats": (0.1 + 0.2, 0.3),
    "int for float": (2, 2.0),
    "nan": (NAN, np.float32("nan")),
    "infinity": (float("inf"), float("inf")),
    "big whole numbers": (10**400, 10**400),
    "complex": (1j, 1j),
    "bool": (np.bool_(True), True),
    "text": ("ab", "ab"),
    "none": (None, None),
    "list": ([1, [2.0, NAN]], [1, [2.0, NAN]]),
    "tuple": ((1, "a"), (1, "a")),
    "dict in another order": ({"a": 1, "b": NAN}, {"b": NAN, "a": 1}),
    "set": ({1, float("nan")}, frozenset({1, float("nan")})),
    "array": (np.array([[1, NAN]]), np.array([[1.0, NAN]])),
    "empty array": (np.zeros((0, 3)), np.zeros((0, 3))),
    "text array": (np.array(["a", "b"]), np.array(["a", "b"])),
    "object array": (np.array([None, 1.0, "a"], dtype=object), np.array([None, 1.0, "a"], dtype=object)),
    "dates": (np.array(["2024-01-01", "NaT"], "M8[D]"), np.array(["2024-01-01", "NaT"], "M8[D]")),
    "tensor": (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.00001])),
    "tensor with a gradient": (torch.ones(2, requires_grad=True) * 2, torch.tensor([2.0, 2.0])),
    "bfloat16": (torch.ones(2, dtype=torch.bfloat16), torch.ones(2)),
    "tensor without dimensions": (torch.tensor(2.0), 2.0),
    "tensors in a dict": ({"a": [torch.ones(2)]}, {"a": [torch.ones(2)]}),
    "range": (range(3), range(3)),
}


@pytest.mark.parametrize(("attempt", "expected"), EQUAL.values(), ids=EQUAL.keys())
def test_equal_values_are_correct(attempt, expected):
    outcome = check(attempt, expected)
    assert outcome.status == "correct" and outcome.ok and outcome


DIFFERENT = {
    "number": (3, 4, "expected 4, got 3"),
    "close numbers": (1.001, 1.0, "expected 1, got 1.001"),
    "numbers that look alike": (1.00000049, 1.0000001, "expected 1.0000001, got 1.00000049"),
    "whole numbers are exact": (1000000, 1000001, "expected 1000001, got 1000000"),
    "nan": (NAN, 1.0, "expected 1, got nan"),
    "infinity": (float("inf"), float("-inf"), "expected -inf, got inf"),
    "bool is no number": (True, 1, "expected a number, got a truth value (True)"),
    "number is no bool": (1, True, "expected a truth value, got a number (1)"),
    "text for number": ("3", 3, "expected a number, got text ('3')"),
    "text": ("ab", "ac", "expected 'ac', got 'ab'"),
    "long text": ("x" * 99 + "a", "x" * 99 + "b", "from character 99 on: expected 'b', got 'a'"),
    "longer text": ("x" * 99, "x" * 98, "from character 98 on: expected '', got 'x'"),
    "list or tuple": ((1, 2), [1, 2], "expected a list, got a tuple ((1, 2))"),
    "length": ([1], [1, 2], "expected 2 items, got 1"),
    "item": ([1, (2, 3)], [1, (2, 4)], "at [1][1]: expected 4, got 3"),
    "keys": ({"a": 1, "c": 1}, {"a": 1, "b": 1}, "the keys differ: missing 'b'; not expected 'c'"),
    "value": ({"a": {"b": 1}}, {"a": {"b": 2}}, "at ['a']['b']: expected 2, got 1"),
    "set": ({1, 2, 9}, {1, 2, 3}, "the members differ: missing 3; not expected 9"),
    "function for value": (len, 3, "expected a number, got a function"),
    "shape": (np.zeros((2, 3)), np.zeros((3, 2)), "expected the shape (3, 2), got (2, 3)"),
    "no broadcasting": (np.zeros((1, 2)), np.zeros(2), "expected the shape (2,), got (1, 2)"),
    "content": (np.array([True]), np.array([1]), "expected numbers (int64), got truth values (bool)"),
    "array": (
        np.array([[1.0, 2.0], [3.5, 9.0]]),
        np.array([[1.0, 2.0], [3.0, 5.0]]),
        "2 of 4 values differ, first at [1, 0]: expected 3, got 3.5; the largest difference is 4",
    ),
    "whole numbers in an array are exact": (
        np.array([1000000]),
        np.array([1000001]),
        "expected 1000001, got 1000000; the largest difference is 1",
    ),
    "a set is shown in order": (set("hgfedcba"), 1, "a set ({'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'})"),
    "members are shown in order": (set("hgfedcba"), set(), "not expected 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'"),
    "nan in an array": (np.array([0.0, 1.0]), np.array([NAN, 1.0]), "first at [0]: expected nan, got 0"),
    "unsigned": (np.array([0], np.uint8), np.array([1], np.uint8), "the largest difference is 1"),
    "text array": (np.array(["a"]), np.array(["b"]), "1 of 1 values differ, first at [0]: expected 'b', got 'a'"),
    "object array": (np.array([None, 2], object), np.array([None, 3], object), "at [1]: expected 3, got 2"),
    "array for tensor": (np.zeros(2), torch.zeros(2), "expected a torch tensor, got a numpy array of shape (2,)"),
    "tensor": (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]), "first at [1]: expected 2.5, got 2"),
    "tensor in a list": ([torch.zeros(2)], [torch.ones(2)], "at [0]: 2 of 2 values differ"),
}


@pytest.mark.parametrize(("attempt", "expected", "text"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_a_difference_is_named(attempt, expected, text):
    outcome = check(attempt, expected, rtol=1e-7 if isinstance(expected, float) else 1e-4, atol=1e-9)
    assert outcome.status == "incorrect" and not outcome.ok and not outcome
    assert text in outcome.detail


def test_the_tolerance_is_the_callers():
    assert not check(1.05, 1.0) and check(1.05, 1.0, rtol=0.1) and check(1.05, 1.0, atol=0.1)
    assert not check(0.0, 1e-5) and check(0.0, 1e-5, atol=1e-4)


def labelled(values, dims=("layer", "head"), **coords):
    return xarray.DataArray(np.asarray(values, float), dims=dims, coords=coords)


def test_labelled_arrays_are_compared_by_the_names_of_their_dimensions():
    expected = labelled([[1, 2, 3], [4, 5, 6]], layer=[17, 18])
    assert check(expected.transpose("head", "layer"), expected)
    assert check(expected.assign_coords(step=4), expected)


@pytest.mark.parametrize(
    ("attempt", "text"),
    [
        (labelled([[1, 2, 3], [4, 5, 9]], layer=[17, 18]), "first at layer=18, head=2: expected 6, got 9"),
        (labelled([[1, 2, 3], [4, 5, 6]], layer=[0, 1]), "in the coordinate 'layer': 2 of 2 values differ"),
        (labelled([[1, 2, 3], [4, 5, 6]]), "the coordinate 'layer' is missing"),
        (labelled([1, 2], dims=("layer",)), "expected the dimensions ('layer', 'head'), got ('layer',)"),
        (labelled([[1], [2]], layer=[17, 18]), "expected the sizes layer=2, head=3, got layer=2, head=1"),
        (np.ones((2, 3)), "expected an xarray DataArray, got a numpy array of shape (2, 3)"),
    ],
)
def test_a_difference_of_labelled_arrays_is_named_by_label(attempt, text):
    assert text in check(attempt, labelled([[1, 2, 3], [4, 5, 6]], layer=[17, 18])).detail


@pytest.mark.parametrize("attempt", [..., None])
def test_a_blank_is_not_attempted(attempt):
    outcome = check(attempt, 3)
    assert outcome.status == "not attempted" and not outcome


class Opaque:
    """Objects that can only be told apart."""


class Broken:
    def __eq__(self, other):
        raise RuntimeError("no comparison today")


@pytest.mark.parametrize(
    ("attempt", "expected", "text"),
    [
        (Opaque(), Opaque(), "TypeError: an Opaque cannot be compared"),
        (Broken(), Broken(), "RuntimeError: no comparison today"),
        (torch.ones(2, device="meta"), torch.ones(2), "NotImplementedError"),
    ],
)
def test_what_cannot_be_compared_is_said_with_the_error(attempt, expected, text):
    outcome = check(attempt, expected)
    assert outcome.status == "cannot be checked" and text in outcome.detail


def test_a_list_that_holds_itself_cannot_be_checked():
    loop, other = [1], [1]
    loop.append(loop)
    other.append(other)
    assert check(loop, other).status == "cannot be checked"


# Checks of functions


def test_a_function_is_checked_against_a_reference_or_against_results():
    assert check(lambda a, b: a + b, lambda a, b: b + a, inputs=[(1, 2), (0.5, 0.25)])
    assert check(lambda a, b: a + b, [3, 0.75], inputs=[(1, 2), (0.5, 0.25)])
    assert check(lambda: 4, [4], inputs=[()])


def test_the_first_input_that_differs_is_named():
    outcome = check(lambda x: x * x, [1, 4, 7], inputs=[1, 2, 3])
    assert repr(outcome) == "✗ incorrect\n  for the input 3: expected 7, got 9"


def test_a_stub_is_not_attempted():
    def stub(x):
        raise NotImplementedError("your turn")

    for attempt in (stub, lambda x: ..., ..., None):
        assert check(attempt, [1], inputs=[1]).status == "not attempted"
    assert repr(check(stub, [1], inputs=[1])) == "○ stub: not attempted\n  it says: your turn"


def test_an_exception_of_the_learner_is_told_with_its_line():
    def halve(x):
        return 1 / x

    line = halve.__code__.co_firstlineno + 1
    outcome = check(halve, [1.0, 2.0], inputs=[1, 0])
    assert outcome.status == "cannot be checked"
    assert outcome.detail == f"for the input 0: it raised ZeroDivisionError: division by zero (line {line})"


def test_wrong_arguments_are_told_without_a_line_of_ours():
    outcome = check(lambda: 1, [1], inputs=[1])
    assert outcome.status == "cannot be checked"
    assert "takes 0 positional arguments but 1 was given" in outcome.detail and "(line" not in outcome.detail


def test_an_exception_of_the_reference_is_not_blamed_on_the_learner():
    outcome = check(lambda x: x, lambda x: 1 / 0, inputs=[1])
    assert outcome.status == "cannot be checked" and "the exercise's own answer raised" in outcome.detail


def test_an_interrupt_is_not_swallowed():
    def wait(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(wait, [1], inputs=[1])


def test_a_forgotten_return_is_pointed_out():
    outcome = check(lambda x: None, [1], inputs=[1])
    assert outcome.status == "incorrect" and "`return`" in outcome.detail
    assert check(lambda x: None, [None], inputs=[1])


def test_a_value_in_place_of_a_function_is_incorrect():
    assert "expected a function, got a number (3)" in check(3, [1], inputs=[1]).detail


def test_the_inputs_are_left_as_they_were():
    def spoil(values, tensor):
        values.append(9)
        tensor.zero_()
        return len(values)

    values, tensor = [1], torch.ones(2)
    assert check(spoil, spoil, inputs=[(values, tensor), (values, tensor)])
    assert values == [1] and tensor.tolist() == [1, 1]


def test_a_model_among_the_inputs_is_not_copied():
    model = torch.nn.Linear(2, 2)
    assert check(lambda net, x: id(net), [id(model)], inputs=[(model, torch.ones(2))])


def test_inputs_that_cannot_be_copied_are_the_authors_error():
    with pytest.raises(InputError, match="can be copied"):
        check(lambda x: x, [1], inputs=[(n for n in range(3))])


@pytest.mark.parametrize(
    ("expected", "options"),
    [
        ([1], {"inputs": (1,)}),
        ([1], {"inputs": []}),
        ([1, 2], {"inputs": [1]}),
        (1, {"inputs": [1]}),
        (len, {}),
        (1, {"hint": ""}),
    ],
)
def test_an_exercise_put_wrongly_is_refused(expected, options):
    with pytest.raises(InputError):
        check(lambda x: x, expected, **options)


# Outcomes


def test_checks_raise_in_solution_notebooks(monkeypatch):
    monkeypatch.setenv("NBTOOLS_CHECKS", "raise")
    assert check(1, 1)
    for attempt in (2, ..., Opaque()):
        with pytest.raises(CheckError, match="Exercise 1"):
            check(attempt, 1, name="Exercise 1")
    assert issubclass(CheckError, NbtoolsError) and issubclass(CheckError, AssertionError)


def test_a_misspelt_setting_is_refused(monkeypatch):
    monkeypatch.setenv("NBTOOLS_CHECKS", "rasie")
    with pytest.raises(InputError, match="NBTOOLS_CHECKS"):
        check(1, 1)


def test_a_hint_is_offered_until_the_answer_is_correct():
    wrong, right = check(1, 2, hint=["Add.", "Add one."]), check(2, 2, hint="Add.")
    assert repr(wrong).endswith("hint 1 of 2: Add.\n  hint 2 of 2: Add one.")
    assert wrong.to_html().count("<details>") == 2
    assert "Add" not in repr(right) + right.to_html()


def test_outcomes_hold_no_memory_addresses():
    assert " at 0x" not in repr(check(Opaque(), 1)) + check(Opaque(), 1).to_html()


# Hints


def test_hints_unfold_one_inside_the_other():
    page = hint("one", "two", "three").to_html()
    assert page.count("<details><summary>") == 3 and page.endswith("</details>" * 3)
    assert page.index("one") < page.index("two") < page.index("three")


def test_hints_are_readable_as_plain_text():
    bundle = hint("one", "`two`")._repr_mimebundle_()
    assert bundle["text/plain"] == "hint 1 of 2: one\nhint 2 of 2: `two`"
    assert "<code>two</code>" in bundle["text/html"] and "<script" not in bundle["text/html"]


@pytest.mark.parametrize("steps", [(), ("",), (3,), ("one", " ")])
def test_an_empty_hint_is_refused(steps):
    with pytest.raises(InputError, match="one or more texts"):
        hint(*steps)
