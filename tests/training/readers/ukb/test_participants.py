import gzip

import pytest
from henaw.model.errors import CohortError
from henaw.training.readers.ukb.participants import read_participants


@pytest.mark.parametrize(
    "text",
    [
        "1000001\n1000002\n",
        "eid\n1000001\n1000002\n",
        "Participant ID\n1000001\n1000002\n",
        '"eid","reason"\n"1000001","x"\n"1000002","y"\n',
        "\ufeff1000001\r\n1000002\r\n\r\n",
        "1000001 1000001 0 0 1\n1000002 1000002 0 0 2\n",
        "1000001_21015_0_0.png\n1000002_21016_1_0.png\n1000002_21015_0_0.png\n",
        "1000001.0\n1000002.0",
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_lists_in_several_formats(tmp_path, text, compress):
    path = tmp_path / ("list.txt.gz" if compress else "list.txt")
    content = text.encode()
    path.write_bytes(gzip.compress(content) if compress else content)
    assert read_participants([path]).to_list() == [1000001, 1000002]


def test_several_lists_are_joined(tmp_path):
    (tmp_path / "a").write_text("3\n1\n")
    (tmp_path / "b").write_text("2\n1\n")
    assert read_participants([tmp_path / "a", tmp_path / "b"]).to_list() == [1, 2, 3]
    assert read_participants([]).is_empty()


def test_every_wrong_list_is_named_and_no_participant(tmp_path):
    (tmp_path / "words").write_text("1000001\nJane\n\nJohn\n")
    (tmp_path / "empty").write_text("eid\n")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"1000001\n" * 1000)[:30])
    names = ["gone", "words", "empty", "cut.gz"]
    with pytest.raises(CohortError) as caught:
        read_participants([tmp_path / name for name in names])
    problems = caught.value.problems
    assert len(problems) == 4
    assert "2 do not, first line 2" in problems[1]
    assert "Jane" not in str(caught.value)
    assert "1000001" not in str(caught.value)
