from metavox_privacy.describe import markdown
from metavox_privacy.schema import SCHEMA


def test_every_field_stands_in_the_tables_with_its_reason():
    text = markdown(SCHEMA)
    for field in (*SCHEMA.dimensions, *SCHEMA.metrics):
        assert f"`{field.name}`" in text
        assert f"`{field.attribute}`" in text
        assert field.reason in text
    for table in SCHEMA.tables:
        assert f"`{table.name}`" in text


def test_every_row_has_as_many_columns_as_its_head():
    for block in markdown(SCHEMA).split("\n\n"):
        assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1
